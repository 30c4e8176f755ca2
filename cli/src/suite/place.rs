//! Where in a suite something is wrong: `suite.yaml:7:5: reason`.

use std::{fmt, path::Path};

use serde_saphyr::{Location, Spanned};

/// A line and a column, from one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The place of a value.
pub(super) fn of<T>(value: &Spanned<T>) -> Place {
    value.referenced.into()
}

/// Something in a suite that makes no sense.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) place: Place,
    pub(super) reason: String,
}

impl Wrong {
    pub(super) fn new(place: Place, reason: impl fmt::Display) -> Self {
        // A chain of causes on one line.
        Self { place, reason: format!("{reason:#}") }
    }

    pub(super) fn in_file(&self, file: &Path) -> anyhow::Error {
        let file = file.display();
        if self.place == Place::default() {
            return anyhow::anyhow!("{file}: {}", self.reason);
        }
        anyhow::anyhow!("{file}:{}: {}", self.place, self.reason)
    }
}

/// Adds the place to an error.
pub(super) trait At<T> {
    fn at(self, place: Place) -> Result<T, Wrong>;
}

impl<T, E: fmt::Display> At<T> for Result<T, E> {
    fn at(self, place: Place) -> Result<T, Wrong> {
        self.map_err(|error| Wrong::new(place, error))
    }
}
