# frozen_string_literal: true

# Checks the signed context that Portcullis puts into `x-tenant-context`.
#
# Copy the module. As a program this checks itself: ruby verify.rb vectors.tsv

require "base64"
require "openssl"

module SignedContext
  # The [tenant, subject, request id] that `context` proves, or nil. `keys` has the secrets by
  # their ids; `method` and `target` (path and query) are the request's as it arrived.
  def self.verify(context, keys, method, target, now = Time.now.to_i)
    return nil if context.bytesize > 2048

    signed, _, mac = context.rpartition(".")
    fields = signed.split(".", -1)
    return nil unless fields.length == 7 && fields[0] == "v1"

    _, key, expires, tenant, subject, request_id, bound = fields
    return nil unless keys.key?(key)

    own = encode(OpenSSL::HMAC.digest("SHA256", keys[key], signed))
    return nil unless OpenSSL.secure_compare(own, mac)
    return nil unless bound == encode(OpenSSL::Digest::SHA256.digest("#{method}\n#{target}"))
    return nil if now >= Integer(expires, 10)

    [tenant, subject, request_id].map { |text| Base64.urlsafe_decode64(text).force_encoding("UTF-8") }
  end

  def self.encode(bytes)
    Base64.urlsafe_encode64(bytes, padding: false)
  end
end

if $PROGRAM_NAME == __FILE__
  keys = {}
  wrong = 0
  count = 0
  File.read(ARGV[0], encoding: "UTF-8").split("\n").each do |line|
    kind, note, *rest = line.split("\t", -1)
    keys[note] = Base64.decode64(rest[0]) if kind == "key"
    next unless kind == "case"

    want, now, method, target, context = rest
    found = SignedContext.verify(context, keys, method, target, Integer(now, 10))
    got = found.nil? ? "refused" : found.join("|")
    count += 1
    next if got == want

    wrong += 1
    puts "#{note}: #{got} instead of #{want}"
  end
  puts "#{count - wrong} of #{count} agree"
  exit(wrong.positive? || count.zero? ? 1 : 0)
end
