//! Tokens as arguments: the token itself, or where it is, and never what an error would print.

use std::{convert::Infallible, fmt, path::Path, str::FromStr};

use crate::document;

/// A token on the command line, or `@` and the file that has it; `-` and `@-` are standard input.
#[derive(Clone)]
pub(crate) struct Token(String);

impl FromStr for Token {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    pub(crate) fn is_standard_input(&self) -> bool {
        matches!(self.0.as_str(), "-" | "@-")
    }

    /// The token's bytes, without what is around them in a header or a file.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<u8>> {
        let bytes = match self.0.strip_prefix('@') {
            _ if self.is_standard_input() => document::read(Path::new("-"))?,
            Some(file) => document::read(Path::new(file))?,
            None => self.0.clone().into_bytes(),
        };
        let bytes = bytes.trim_ascii();
        Ok(bytes.strip_prefix(b"Bearer ").unwrap_or(bytes).trim_ascii_start().to_vec())
    }
}
