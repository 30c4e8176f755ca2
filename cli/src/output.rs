//! What people and programs read: colours on a terminal, plain text in a pipe, JSON on demand.

use anstyle::{AnsiColor, Style};
use clap::{ValueEnum, builder::Styles};
use comfy_table::Table;

use crate::source::Refused;

/// The answer to the question that a call asks; its exit code is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document on standard output
    Json,
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const NAME: Style = Style::new().bold();
pub(crate) const QUIET: Style = Style::new().dimmed();

pub(crate) const HELP_STYLES: Styles = Styles::styled()
    .header(NAME)
    .usage(NAME)
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Yellow.on_default());

/// `text` in `style`; anstream takes the codes out again where nobody wants them (a pipe,
/// `NO_COLOR`).
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// An error with its causes, on standard error; one in a document with the line that it is in.
pub(crate) fn error(error: &anyhow::Error) {
    let refused = error.chain().find_map(|cause| cause.downcast_ref::<Refused>());
    if let Some(refused) = refused
        && let Some(picture) = refused.picture()
    {
        anstream::eprintln!("{picture}");
        let around = error.chain().take_while(|cause| !cause.is::<Refused>()).map(ToString::to_string);
        let around: Vec<_> = around.filter(|cause| cause != refused.name()).collect();
        if !around.is_empty() {
            anstream::eprintln!("  in {}", around.join(": "));
        }
        return;
    }
    anstream::eprintln!("{} {error:#}", styled(BAD, "error:"));
}

/// A table without lines, its columns aligned.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}
