//! Text with `${…}` in it.

use std::collections::BTreeMap;

use super::ForgeError;

/// Names and what stands for them. Beside them `${hex:ff}` is a byte and `${repeat:3:ab}` is
/// `ababab`.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, Vec<u8>>);

/// Asked for a name: its bytes, or nothing where it is not known.
pub type Lookup<'l> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, ForgeError> + 'l;

impl Variables {
    /// Lets `${name}` stand for `value`.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.insert(name.into(), value.into());
    }

    /// `text` with everything in `${…}` filled in.
    ///
    /// # Errors
    ///
    /// [`ForgeError::Wrong`] for a name that is not there, with those that are.
    pub fn expand(&self, text: &str) -> Result<Vec<u8>, ForgeError> {
        self.expand_with(text, &mut |_| Ok(None))
    }

    /// The same, with `other` asked for names that are not there.
    ///
    /// # Errors
    ///
    /// As [`Variables::expand`], and those of `other`.
    pub fn expand_with(&self, text: &str, other: &mut Lookup<'_>) -> Result<Vec<u8>, ForgeError> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| ForgeError::Wrong(format!("`${{` is not closed in `{text}`")))?;
            out.extend_from_slice(before.as_bytes());
            match self.get(name)? {
                Some(value) => out.extend(value),
                None => out.extend(other(name)?.ok_or_else(|| self.unknown(name))?),
            }
            rest = after;
        }
        out.extend_from_slice(rest.as_bytes());
        Ok(out)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ForgeError> {
        if let Some(digits) = name.strip_prefix("hex:") {
            return hex(digits).map(Some);
        }
        if let Some((times, text)) = name.strip_prefix("repeat:").and_then(|rest| rest.split_once(':')) {
            // Enough for a header that every proxy refuses; a suite is no way to fill the memory.
            let times: usize = times
                .parse()
                .ok()
                .filter(|times| *times <= 1 << 20)
                .ok_or_else(|| ForgeError::Wrong(format!("`{times}` is no number of repetitions")))?;
            return Ok(Some(text.as_bytes().repeat(times)));
        }
        Ok(self.0.get(name).cloned())
    }

    fn unknown(&self, name: &str) -> ForgeError {
        let known: Vec<_> = self.0.keys().map(|name| format!("`${{{name}}}`")).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        ForgeError::Wrong(format!("nothing is called `${{{name}}}` here; there is: {known}"))
    }
}

/// The bytes of hexadecimal digits.
pub(super) fn hex(digits: &str) -> Result<Vec<u8>, ForgeError> {
    let wrong = || ForgeError::Wrong(format!("`{digits}` is not hexadecimal"));
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            u8::from_str_radix(pair, 16).map_err(|_| wrong())
        })
        .collect()
}
