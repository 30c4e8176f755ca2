//! A mapping whose members are taken one by one, so that what nobody took is known.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use super::{Draft, Effect};

/// A mapping at a path.
pub(super) struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// # Errors
    ///
    /// `value` is no mapping.
    pub(super) fn new(path: impl Into<String>, value: Value) -> anyhow::Result<Self> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { path, map }),
            _ => bail!("`{path}`: a mapping is expected"),
        }
    }

    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Takes members that decide nothing here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.map.remove(*name);
        }
    }

    pub(super) fn text(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.path(name);
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => bail!("`{path}`: a text is expected"),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> anyhow::Result<Option<bool>> {
        let path = self.path(name);
        self.take(name)
            .map(|value| value.as_bool().with_context(|| format!("`{path}`: true or false")))
            .transpose()
    }

    pub(super) fn fields(&mut self, name: &str) -> anyhow::Result<Option<Self>> {
        let path = self.path(name);
        self.take(name).map(|value| Self::new(path, value)).transpose()
    }

    /// The elements of a list with their paths.
    pub(super) fn list(&mut self, name: &str) -> anyhow::Result<Vec<(String, Value)>> {
        let path = self.path(name);
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (format!("{path}[{index}]"), item))
                .collect()),
            Some(_) => bail!("`{path}`: a list is expected"),
        }
    }

    pub(super) fn texts(&mut self, name: &str) -> anyhow::Result<Vec<(String, String)>> {
        let items = self.list(name)?.into_iter();
        items
            .map(|(path, item)| {
                let text = item.as_str().with_context(|| format!("`{path}`: a text is expected"))?.to_owned();
                Ok((path, text))
            })
            .collect()
    }

    /// Reports what was not taken.
    pub(super) fn finish(self, draft: &mut Draft, effect: Effect, reason: &str) {
        for name in self.map.keys() {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            draft.lose(&path, effect, reason);
        }
    }
}
