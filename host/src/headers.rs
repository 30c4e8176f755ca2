//! Header maps: ordered byte pairs with Envoy's rules, and the pairs encoding of the ABI.
//!
//! Names are lower-cased on the way in, values are bytes that nobody judges, repeated names keep
//! their order. Pseudo headers (`:method`, `:path`, `:authority`, `:scheme`, `:status`) are in the
//! map like any other.

use core::fmt;

/// Lines and bytes of one map that a guest may make.
const MAX_LINES: usize = 10_000;
const MAX_BYTES: usize = 16 << 20;

/// An ordered list of header names and values; a name may occur more than once.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    /// No headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one line; a value that is there stays (`proxy_add_header_map_value`).
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) {
        self.0.push((name.as_ref().to_ascii_lowercase(), value.into()));
    }

    /// Sets the only value of a name: the first line takes it and the others of that name go
    /// (`proxy_replace_header_map_value`).
    pub fn replace(&mut self, name: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) {
        let name = name.as_ref().to_ascii_lowercase();
        let mut value = Some(value.into());
        self.0.retain_mut(|(key, old)| {
            if *key != name {
                return true;
            }
            match value.take() {
                Some(new) => {
                    *old = new;
                    true
                }
                None => false,
            }
        });
        if let Some(value) = value {
            self.0.push((name, value));
        }
    }

    /// Removes every line of a name (`proxy_remove_header_map_value`).
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let name = name.as_ref().to_ascii_lowercase();
        self.0.retain(|(key, _)| *key != name);
    }

    /// The first value of a name. A repeated header has more: see [`Headers::all`].
    #[must_use]
    pub fn first(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The first value of a name, if it is UTF-8.
    #[must_use]
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.first(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// Every value of a name, in order.
    pub fn all(&self, name: impl AsRef<[u8]>) -> impl Iterator<Item = &[u8]> {
        let name = name.as_ref().to_ascii_lowercase();
        self.0.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_slice())
    }

    /// Is there a line of this name?
    #[must_use]
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.first(name).is_some()
    }

    /// Every line, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Are there no lines?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all names and values (`proxy_get_header_map_size`).
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.0
            .iter()
            .fold(0, |sum: usize, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()))
    }

    /// Can a line of this size be added without the map growing beyond all bounds?
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.len() < MAX_LINES && self.byte_size().saturating_add(bytes) <= MAX_BYTES
    }

    /// The number of lines as the guest gets it.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The pairs encoding: count, sizes, then each name and value with a zero byte after it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let size = self.byte_size().saturating_add(self.0.len().saturating_mul(10)).saturating_add(4);
        let mut out = Vec::with_capacity(size);
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&word(self.0.len()));
        for (name, value) in &self.0 {
            out.extend_from_slice(&word(name.len()));
            out.extend_from_slice(&word(value.len()));
        }
        for (name, value) in &self.0 {
            out.extend_from_slice(name);
            out.push(0);
            out.extend_from_slice(value);
            out.push(0);
        }
        out
    }

    /// Reads the pairs encoding. `None` when a size points outside of the bytes. No bytes at all
    /// are no pairs. What stands after the last pair is not read, as in Envoy.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::new());
        }
        let (count, mut sizes) = take_word(bytes)?;
        if count > MAX_LINES {
            return None;
        }
        let table = count.checked_mul(8)?;
        let mut data = sizes.get(table..)?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let (name_size, rest) = take_word(sizes)?;
            let (value_size, rest) = take_word(rest)?;
            sizes = rest;
            let name = take_text(&mut data, name_size)?;
            let value = take_text(&mut data, value_size)?;
            pairs.push((name.to_ascii_lowercase(), value.to_vec()));
        }
        Some(Self(pairs))
    }
}

fn take_word(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*word)).ok()?, rest))
}

fn take_text<'a>(data: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (text, rest) = data.split_at_checked(size)?;
    let (end, rest) = rest.split_first()?;
    *data = rest;
    (*end == 0).then_some(text)
}

/// Reads as `{:path: "/", x: "\xff"}`.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(n, v)| (n.as_ref().to_ascii_lowercase(), v.as_ref().to_vec())).collect())
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const L: usize> From<[(N, V); L]> for Headers {
    fn from(pairs: [(N, V); L]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> From<Vec<(N, V)>> for Headers {
    fn from(pairs: Vec<(N, V)>) -> Self {
        pairs.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Headers;

    #[test]
    fn replacing_a_repeated_header_leaves_one_line_at_the_first_place() {
        let mut headers = Headers::from([("X-A", "1"), ("b", "2"), ("x-a", "3")]);
        headers.replace("x-A", "new");
        assert_eq!(headers, Headers::from([("x-a", "new"), ("b", "2")]));
    }

    #[test]
    fn the_pairs_encoding_round_trips_bytes_that_are_not_text() {
        let headers: Headers = [(&b"x"[..], &b"\xff\0"[..]), (b"y", b"")].into_iter().collect();
        assert_eq!(Headers::decode(&headers.encode()), Some(headers));
    }

    #[test]
    fn a_pairs_encoding_whose_sizes_lie_is_refused() {
        for lie in
            [&[1u8, 0, 0, 0][..], &[255; 4], &[255; 12], &[1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, b'a', 0, 0]]
        {
            assert_eq!(Headers::decode(lie), None, "{lie:?}");
        }
    }

    #[test]
    fn every_prefix_of_an_encoding_is_refused_without_a_panic() {
        let bytes = Headers::from([("name", "value"), ("other", "thing")]).encode();
        for end in 1..bytes.len() {
            assert_eq!(Headers::decode(&bytes[..end]), None, "{end} bytes");
        }
    }
}
