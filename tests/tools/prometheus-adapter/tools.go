//go:build tools

// Package tools pins the adapter so that `go build` finds it in go.mod.
package tools

import _ "sigs.k8s.io/prometheus-adapter/cmd/adapter"
