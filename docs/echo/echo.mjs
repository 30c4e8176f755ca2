// Says whom an answer is for: `x-tenant-echo: <tenant id>;<request id>`.
//
// `tenantEcho` is a middleware as Express, Connect and Polka take it. Below it is a service with two
// handlers, of which one has lost its scope: `node echo.mjs PORT`.

import { AsyncLocalStorage } from 'node:async_hooks'
import http from 'node:http'

// What the data layer filters by.
const scope = new AsyncLocalStorage()

export function tenantEcho(req, res, next) {
  const writeHead = res.writeHead
  // Read when the answer begins: what the handler worked with, not what it was asked for.
  res.writeHead = (...head) => {
    res.setHeader('x-tenant-echo', `${scope.getStore().tenant};${req.headers['x-request-id'] ?? ''}`)
    return writeHead.apply(res, head)
  }
  next()
}

function service(req, res) {
  if (req.url === '/lost') scope.getStore().tenant = 'globex'
  res.setHeader('content-type', 'text/plain')
  res.end(`orders of ${scope.getStore().tenant}`)
}

http
  .createServer((req, res) =>
    scope.run({ tenant: req.headers['x-tenant-id'] }, () => tenantEcho(req, res, () => service(req, res))),
  )
  .listen(Number(process.argv[2]), '127.0.0.1')
