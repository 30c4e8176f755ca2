//! A control plane as a child process.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use super::common;

/// A control plane on a free port, and what it says.
pub struct Plane {
    child: Child,
    lines: Receiver<String>,
    pub port: u16,
}

impl Plane {
    pub fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = common::portcullis()
            .args(["xds", "--listen", "127.0.0.1:0", "--folder"])
            .arg(folder)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                eprintln!("{line}");
                let _ = said.send(line);
            }
        });
        let mut plane = Self { child, lines, port: 0 };
        // Every plugin is compiled first.
        let first = plane.wait_for("serving ", common::PATIENCE * 6);
        plane.port = first.rsplit(':').next().unwrap().parse().unwrap();
        plane
    }

    /// The next line that contains `text`.
    pub fn wait(&self, text: &str) -> String {
        self.wait_for(text, common::PATIENCE * 2)
    }

    fn wait_for(&self, text: &str, patience: Duration) -> String {
        loop {
            let line = self.lines.recv_timeout(patience).unwrap_or_else(|_| panic!("never `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
