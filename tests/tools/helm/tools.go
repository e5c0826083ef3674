//go:build tools

// Package helm pins the version of Helm; its program is built by its package's name.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
