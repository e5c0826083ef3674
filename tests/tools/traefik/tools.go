//go:build tools

// Package tools pins Traefik so that `go build` finds it in go.mod.
package tools

import _ "github.com/traefik/traefik/v3/cmd/traefik"
