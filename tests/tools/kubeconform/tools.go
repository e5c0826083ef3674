//go:build tools

// Package kubeconform pins its version; its program is built by its package's name.
package kubeconform

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
