//! Plugin configurations inside other documents: Envoy's, Istio's `WasmPlugin`, Envoy Gateway's
//! `EnvoyExtensionPolicy`.

use std::{ops::Range, sync::Arc};

use granit_parser::ScalarStyle;

use super::{
    Source, place_of,
    tree::{Map, Member, Tree},
};

/// Where a text stands in the file around it.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    file: Arc<str>,
    /// The value's bytes in the file.
    value: Range<usize>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A literal block (`|`): every line of the text is a line of the file.
    Literal,
    /// Another text: its escapes and folds move what comes after.
    Opaque,
    /// A part of the file as it is, after so many spaces.
    Part(usize),
}

impl Inside {
    pub(super) fn text(&self) -> Arc<str> {
        Arc::clone(&self.file)
    }

    /// The bytes of the file that the bytes `span` of the text are.
    pub(super) fn outer(&self, text: &str, span: Range<usize>) -> Range<usize> {
        let exact = match self.form {
            Form::Literal => self.in_block(text, &span),
            Form::Opaque => None,
            Form::Part(spaces) => {
                let moved = |at: usize| at.saturating_sub(spaces) + self.value.start;
                Some(moved(span.start)..moved(span.end))
            }
        };
        exact.unwrap_or_else(|| {
            let first = self.file.get(self.value.clone()).unwrap_or_default().lines().next();
            self.value.start..self.value.start + first.unwrap_or_default().len()
        })
    }

    fn in_block(&self, text: &str, span: &Range<usize>) -> Option<Range<usize>> {
        let before = text.get(..span.start)?;
        let (number, begin) = (before.matches('\n').count(), before.rfind('\n').map_or(0, |at| at + 1));
        let line = text.get(begin..)?.lines().next()?;
        // The value begins at the block's header, or at its text.
        let value = self.file.get(self.value.start..)?;
        let mut start = if value.starts_with('|') {
            self.value.start + value.find('\n')? + 1
        } else {
            self.file.get(..self.value.start)?.rfind('\n').map_or(0, |at| at + 1)
        };
        for _ in 0..number {
            start += self.file.get(start..)?.find('\n')? + 1;
        }
        let whole = self.file.get(start..)?.lines().next()?;
        if !whole.ends_with(line) {
            return None;
        }
        let start = start + (whole.len() - line.len()) + (span.start - begin);
        let left = line.len().saturating_sub(span.start - begin);
        Some(start..start + span.len().min(left))
    }
}

/// A configuration for a plugin of the bundle, found in a document.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) plugin: portcullis_modules::Module,
    pub(crate) source: Source,
    /// The line where it begins.
    pub(crate) line: usize,
}

impl Source {
    /// The configurations for plugins of the bundle in a document around them: of Envoy, or of
    /// Kubernetes. None where the document is not one of these.
    ///
    /// # Errors
    ///
    /// One of them cannot be read.
    pub(crate) fn embedded(&self) -> anyhow::Result<Option<Vec<Embedded>>> {
        let Some(tree) = Tree::read_all(&self.text) else { return Ok(None) };
        let around = tree.roots().any(|root| {
            let has = |name| root.get(name).is_some();
            has("static_resources") || has("resources") || has("@type") || (has("apiVersion") && has("kind"))
        });
        if !around {
            return Ok(None);
        }
        let mut found = Vec::new();
        let mut wrong = None;
        tree.maps(|map| {
            let Some((plugin, value)) = configuration(map) else { return };
            match self.part(value) {
                Ok(Some(source)) => {
                    let line = place_of(&self.text, start_of(value)).line;
                    found.push(Embedded { plugin, source, line });
                }
                Ok(None) => {}
                Err(error) => wrong = Some(error),
            }
        });
        match wrong {
            Some(error) => Err(error),
            None => Ok(Some(found)),
        }
    }

    /// What is for `plugin`: the document itself, or the one configuration for it in a document around
    /// several.
    ///
    /// # Errors
    ///
    /// There is none for it in there, or there are several.
    pub(crate) fn for_plugin(self, plugin: &str) -> anyhow::Result<Self> {
        let Some(found) = self.embedded()? else { return Ok(self) };
        let mut own: Vec<_> = found.into_iter().filter(|one| one.plugin.name == plugin).collect();
        match (own.pop(), own.len()) {
            (Some(one), 0) => Ok(one.source),
            (None, _) => anyhow::bail!("`{}` has no configuration for {plugin}", self.name),
            (Some(_), more) => anyhow::bail!(
                "`{}` has {} configurations for {plugin}; give the one that is meant a file of its own",
                self.name,
                more + 1
            ),
        }
    }

    fn part(&self, value: Member<'_>) -> anyhow::Result<Option<Self>> {
        let inside = |value: &Range<usize>, form| {
            Some(Inside { file: Arc::clone(&self.text), value: value.clone(), form })
        };
        Ok(match value {
            Member::Text(text, style, span) => {
                let form = if style == ScalarStyle::Literal { Form::Literal } else { Form::Opaque };
                let mut source = Self::new(self.name.clone(), text.as_bytes().to_vec());
                source.inside = inside(span, form);
                Some(source)
            }
            Member::Map(map) => {
                let span = map.span();
                let column = span.start - self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
                // What follows the first line is indented as the file has it.
                let text = format!("{}{}", " ".repeat(column), &self.text[span.clone()]);
                let json: serde_json::Value = crate::document::parse(text.as_bytes())?;
                let mut source = Self::new(self.name.clone(), text.into_bytes());
                source.bytes = serde_json::to_vec(&json)?;
                source.inside = inside(span, Form::Part(column));
                Some(source)
            }
            Member::Other => None,
        })
    }
}

/// The plugin and its configuration, if the map is what says so.
fn configuration(map: Map<'_>) -> Option<(portcullis_modules::Module, Member<'_>)> {
    let plugin = |names: &[&str]| names.iter().find_map(|name| portcullis_modules::by_name(map.text(name)?));
    // Envoy's `PluginConfig`: a `StringValue`, or a `Struct`.
    if let Some(Member::Map(given)) = map.get("configuration") {
        return Some((plugin(&["root_id", "name"])?, given.get("value")?));
    }
    // Istio's `WasmPlugin`.
    if let Some(given) = map.get("pluginConfig") {
        return Some((plugin(&["pluginName"])?, given));
    }
    // Envoy Gateway's `EnvoyExtensionPolicy`.
    if map.get("code").is_some() {
        return Some((plugin(&["rootID", "name"])?, map.get("config")?));
    }
    None
}

fn start_of(value: Member<'_>) -> usize {
    match value {
        Member::Text(.., span) => span.start,
        Member::Map(map) => map.span().start,
        Member::Other => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, reason: &str) -> (String, usize, usize) {
        let all = Source::new("f", text.into()).embedded().unwrap().unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        let refused = all[0].source.refused(reason);
        let place = refused.place.unwrap();
        (all[0].plugin.name.to_owned(), place.line, place.column)
    }

    const ENVOY: &str = "\
static_resources:
  listeners:
  - name: x
    config:
      name: jwt-auth
      configuration:
        \"@type\": type.googleapis.com/google.protobuf.StringValue
        value: |
          {
            \"issuers\": [],
            \"rulez\": [{\"path\": 1}]
          }
";

    #[test]
    fn a_place_in_a_block_is_one_of_the_file() {
        let name = "jwt-auth".to_owned();
        assert_eq!(place(ENVOY, "`issuers`: empty"), (name.clone(), 10, 13));
        assert_eq!(place(ENVOY, "`rulez[0].path`: not a text"), (name.clone(), 11, 32));
        assert_eq!(place(ENVOY, "`.`: expected value at line 3 column 4"), (name, 11, 14));
    }

    #[test]
    fn a_text_in_quotes_has_the_place_where_it_begins() {
        let text =
            "resources:\n- {root_id: tenant-guard, configuration: {value: \"{\\\"sources\\\": 1}\"}}\n";
        assert_eq!(place(text, "`sources`: not a list"), ("tenant-guard".into(), 2, 50));
    }

    #[test]
    fn objects_of_kubernetes_have_configurations_as_they_are() {
        let istio = "\
# one
apiVersion: v1
kind: ConfigMap
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
spec:
  pluginName: jwt-auth
  pluginConfig:
    issuers:
    - name: main
      issuer: x
    rules: []
";
        assert_eq!(place(istio, "`issuers[0].issuer`: no"), ("jwt-auth".into(), 12, 15));
        assert_eq!(place(istio, "`rules`: empty"), ("jwt-auth".into(), 13, 5));
        let gateway = "apiVersion: a\nkind: b\nspec:\n  wasm:\n  - name: llm-fanout\n    code: {}\n    config: {paths: [x]}\n";
        assert_eq!(place(gateway, "`paths[0]`: no"), ("llm-fanout".into(), 7, 22));
        let all = Source::new("f", gateway.into()).embedded().unwrap().unwrap();
        assert_eq!(all[0].source.json().unwrap(), br#"{"paths":["x"]}"#);
    }

    #[test]
    fn a_configuration_itself_is_not_one_around_others() {
        for text in ["{\"issuers\": []}", "issuers: []\n", "", "[1]"] {
            assert!(Source::new("f", text.into()).embedded().unwrap().is_none(), "{text}");
        }
        let other = "static_resources: {listeners: [{name: other, configuration: {value: x}}]}";
        assert!(Source::new("f", other.into()).embedded().unwrap().unwrap().is_empty());
    }
}
