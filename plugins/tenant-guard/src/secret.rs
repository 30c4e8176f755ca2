//! Secrets that all workers of the proxy share.

use portcullis_abi::shared;

/// The secret called `name`: whoever is first makes it.
pub(crate) fn shared(name: &str) -> Result<[u8; 16], String> {
    let random = || getrandom::u64().map_err(|error| format!("no randomness: {error}"));
    let mut key = [0; 16];
    let halves = [random()?, random()?];
    for (place, byte) in key.iter_mut().zip(halves.iter().flat_map(|half| half.to_le_bytes())) {
        *place = byte;
    }
    let found = shared::create(name, &key).and_then(|()| shared::get(name));
    let found = found.map_err(|refused| format!("no shared data: {refused}"))?;
    let key = found.and_then(|found| found.value.try_into().ok());
    key.ok_or_else(|| "shared data does not keep what it is given".into())
}
