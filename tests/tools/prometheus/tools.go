//go:build tools

// Package tools pins Prometheus so that `go build` finds it in go.mod.
package tools

import _ "github.com/prometheus/prometheus/cmd/prometheus"
