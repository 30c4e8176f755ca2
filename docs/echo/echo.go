// Says whom an answer is for: `x-tenant-echo: <tenant id>;<request id>`.
//
// TenantEcho wraps any http.Handler. Below it is a service with two handlers, of which one has lost
// its scope: `go run echo.go PORT`.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"os"
)

// Scope is what the data layer filters by.
type Scope struct{ Tenant string }

type scopeKey struct{}

func scopeOf(r *http.Request) *Scope { return r.Context().Value(scopeKey{}).(*Scope) }

// Echo adds the header when the answer begins: what the handler worked with, not what it was asked
// for.
type Echo struct {
	http.ResponseWriter
	request *http.Request
	begun   bool
}

func (e *Echo) begin() {
	if !e.begun {
		e.Header().Set("x-tenant-echo", scopeOf(e.request).Tenant+";"+e.request.Header.Get("x-request-id"))
		e.begun = true
	}
}

func (e *Echo) WriteHeader(status int) { e.begin(); e.ResponseWriter.WriteHeader(status) }

func (e *Echo) Write(body []byte) (int, error) { e.begin(); return e.ResponseWriter.Write(body) }

// Unwrap lets http.ResponseController flush what is behind.
func (e *Echo) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// TenantEcho is the middleware.
func TenantEcho(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scope := &Scope{Tenant: r.Header.Get("x-tenant-id")}
		r = r.WithContext(context.WithValue(r.Context(), scopeKey{}, scope))
		echo := &Echo{ResponseWriter: w, request: r}
		next.ServeHTTP(echo, r)
		echo.begin()
	})
}

func service(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/lost" {
		scopeOf(r).Tenant = "globex"
	}
	w.Header().Set("content-type", "text/plain")
	io.WriteString(w, "orders of "+scopeOf(r).Tenant)
}

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], TenantEcho(http.HandlerFunc(service))))
}
