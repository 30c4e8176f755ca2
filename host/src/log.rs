//! The guests' log: kept for tests, handed on to an embedder.

use crate::shared::lock;
use crate::status::LogLevel;
use core::fmt;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Lines that are kept; older ones go.
const MAX_LINES: usize = 10_000;

/// One line that a guest logged or wrote to its standard output (info) or error (error).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How important.
    pub level: LogLevel,
    /// The plugin's name.
    pub plugin: String,
    /// The context that logged it.
    pub context: u32,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}: {}", self.level, self.plugin, self.text)
    }
}

pub(crate) type Sink = Box<dyn Fn(&LogLine) + Send + Sync>;

/// Lines at or above a level.
pub(crate) struct Log {
    pub(crate) level: LogLevel,
    lines: Mutex<VecDeque<LogLine>>,
    sink: Option<Sink>,
}

impl Log {
    pub(crate) fn new(level: LogLevel, sink: Option<Sink>) -> Self {
        Self { level, lines: Mutex::default(), sink }
    }

    pub(crate) fn write(&self, line: LogLine) {
        if line.level < self.level {
            return;
        }
        if let Some(sink) = &self.sink {
            sink(&line);
        }
        let mut lines = lock(&self.lines);
        if lines.len() >= MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(crate) fn lines(&self) -> Vec<LogLine> {
        lock(&self.lines).iter().cloned().collect()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("level", &self.level).field("lines", &self.lines).finish_non_exhaustive()
    }
}
