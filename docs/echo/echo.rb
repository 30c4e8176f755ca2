# Says whom an answer is for: `x-tenant-echo: <tenant id>;<request id>`.
#
# `TenantEcho` is Rack middleware, for Rails `config.middleware.use TenantEcho`. Below it is a service
# with two handlers, of which one has lost its scope, and just enough of a server:
# `ruby echo.rb PORT`.

require 'socket'

# What the data layer filters by; in Rails an `ActiveSupport::CurrentAttributes`.
module Current
  def self.tenant = Thread.current[:tenant]
  def self.tenant=(id)
    Thread.current[:tenant] = id
  end
end

class TenantEcho
  def initialize(app)
    @app = app
  end

  def call(env)
    status, headers, body = @app.call(env)
    # Read after the handler: what it worked with, not what it was asked for.
    headers['x-tenant-echo'] = "#{Current.tenant};#{env['HTTP_X_REQUEST_ID']}"
    [status, headers, body]
  end
end

SERVICE = lambda do |env|
  Current.tenant = env['HTTP_X_TENANT_ID']
  Current.tenant = 'globex' if env['PATH_INFO'] == '/lost'
  [200, { 'content-type' => 'text/plain' }, ["orders of #{Current.tenant}"]]
end

if $PROGRAM_NAME == __FILE__
  app = TenantEcho.new(SERVICE)
  server = TCPServer.new('127.0.0.1', Integer(ARGV.fetch(0)))
  loop do
    Thread.new(server.accept) do |client|
      line = client.gets
      next client.close unless line

      env = { 'PATH_INFO' => line.split[1] }
      while (header = client.gets) && header != "\r\n"
        name, value = header.chomp.split(': ', 2)
        env["HTTP_#{name.upcase.tr('-', '_')}"] = value
      end
      status, headers, body = app.call(env)
      text = body.join
      client.write("HTTP/1.1 #{status} OK\r\ncontent-length: #{text.bytesize}\r\nconnection: close\r\n")
      headers.each { |name, value| client.write("#{name}: #{value}\r\n") }
      client.write("\r\n#{text}")
      client.close
    end
  end
end
