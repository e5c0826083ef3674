//go:build tools

// Package tools pins metrics-server so that `go build` finds it in go.mod.
package tools

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
