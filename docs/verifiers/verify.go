// Checks the signed context that Portcullis puts into `x-tenant-context`.
//
// Copy Verify. As a program this checks itself: go run verify.go vectors.tsv
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Context is what a context proves.
type Context struct{ Tenant, Subject, RequestID string }

// Verify gives what context proves, and whether it proves anything. The secrets are in keys by
// their ids; method and target (path and query) are the request's as it arrived; now is in seconds.
func Verify(context string, keys map[string][]byte, method, target string, now int64) (Context, bool) {
	dot := strings.LastIndexByte(context, '.')
	if len(context) > 2048 || dot < 0 {
		return Context{}, false
	}
	signed, mac := context[:dot], context[dot+1:]
	fields := strings.Split(signed, ".")
	if len(fields) != 7 || fields[0] != "v1" {
		return Context{}, false
	}
	secret, known := keys[fields[1]]
	if !known {
		return Context{}, false
	}
	encoding := base64.RawURLEncoding
	own := hmac.New(sha256.New, secret)
	own.Write([]byte(signed))
	if !hmac.Equal([]byte(encoding.EncodeToString(own.Sum(nil))), []byte(mac)) {
		return Context{}, false
	}
	bound := sha256.Sum256([]byte(method + "\n" + target))
	if encoding.EncodeToString(bound[:]) != fields[6] {
		return Context{}, false
	}
	expires, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || now >= expires {
		return Context{}, false
	}
	var text [3]string
	for at := range text {
		decoded, err := encoding.DecodeString(fields[3+at])
		if err != nil {
			return Context{}, false
		}
		text[at] = string(decoded)
	}
	return Context{text[0], text[1], text[2]}, true
}

func main() {
	file, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	keys, wrong, count := map[string][]byte{}, 0, 0
	for _, line := range strings.Split(string(file), "\n") {
		part := strings.Split(line, "\t")
		if part[0] == "key" {
			keys[part[1]], _ = base64.StdEncoding.DecodeString(part[2])
		}
		if part[0] != "case" {
			continue
		}
		now, _ := strconv.ParseInt(part[3], 10, 64)
		got := "refused"
		if found, ok := Verify(part[6], keys, part[4], part[5], now); ok {
			got = strings.Join([]string{found.Tenant, found.Subject, found.RequestID}, "|")
		}
		count++
		if got != part[2] {
			wrong++
			fmt.Printf("%s: %s instead of %s\n", part[1], got, part[2])
		}
	}
	fmt.Printf("%d of %d agree\n", count-wrong, count)
	if wrong > 0 || count == 0 {
		os.Exit(1)
	}
}
