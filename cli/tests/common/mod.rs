//! The built command, guests in the WebAssembly text format, and plain sockets as client and
//! upstream, so that a test sees every byte.
#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

/// Long enough for a loaded machine; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn portcullis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

pub fn run(arguments: &[&str]) -> Output {
    portcullis().args(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The text of a module of this guest.
pub fn module(guest: &str) -> String {
    format!("(module {GUEST} {guest})")
}

const GUEST: &str = r#"
  (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  (func (export "proxy_abi_version_0_2_1"))
  (global $heap (mut i32) (i32.const 131072))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get $size) (i32.const 15)) (i32.const -16)))))
  (data (i32.const 0) "x-trap")
  (data (i32.const 16) "x-bad")
  (data (i32.const 32) "a\nb")
  (data (i32.const 48) "x-break")
"#;

/// Lets everything through.
pub const PASS: &str = "";
/// Traps on the header `x-trap`; writes a header that is not HTTP on `x-break`.
pub const TRAP: &str = r#"
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $value (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 1024) (i32.const 1028)))
      (then (unreachable)))
    (if (i32.eqz (call $value (i32.const 0) (i32.const 48) (i32.const 7) (i32.const 1024) (i32.const 1028)))
      (then (drop (call $replace (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 3)))))
    (i32.const 0))
"#;
/// Holds the request until its body is complete.
pub const HOLD: &str = r#"
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.eqz (local.get 2)))
"#;

/// A gateway with one guest in front of `upstream`.
pub struct Gateway {
    pub address: SocketAddr,
    child: Child,
    lines: std::sync::Mutex<std::sync::mpsc::Receiver<String>>,
    _folder: tempfile::TempDir,
}

impl Gateway {
    pub fn with_guest(guest: &str, upstream: SocketAddr, more: &str) -> Self {
        let module = wat::parse_str(format!("(module {GUEST} {guest})")).unwrap();
        Self::start(|folder| {
            fs::write(folder.join("guest.wasm"), module).unwrap();
            format!(
                "listen: 127.0.0.1:0\nworkers: 2\nupstream: {{address: '{upstream}', timeout: 2s}}\n\
                 plugins: [{{name: guest, module: guest.wasm}}]\n{more}\n"
            )
        })
    }

    /// `write` puts files into the configuration's folder and returns the configuration.
    pub fn start(write: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, write(folder.path())).unwrap();
        let mut child =
            portcullis().args(["serve", "--config"]).arg(&file).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address =
            lines.by_ref().map_while(Result::ok).inspect(|line| eprintln!("{line}")).find_map(|line| {
                line.strip_prefix("listening on http://").map(|address| address.parse().unwrap())
            });
        // The pipe must be read on, or the gateway would wait for room in it.
        let (said, heard) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                // Nobody needs to listen.
                let _ = said.send(line);
            }
        });
        let lines = std::sync::Mutex::new(heard);
        Self { address: address.expect("the gateway did not start"), child, lines, _folder: folder }
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends `request` as it is and reads the answer until the connection closes.
    pub fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Reads what the gateway says until a line contains `text`.
    pub fn wait_for_line(&self, text: &str) {
        let lines = self.lines.lock().unwrap();
        while !lines.recv_timeout(PATIENCE).expect("the gateway does not say it").contains(text) {}
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A socket where a test plays the upstream.
pub fn upstream() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next connection to the upstream.
pub fn accept(socket: &TcpListener) -> TcpStream {
    let (stream, _) = socket.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An upstream that answers every connection's first request with what it saw of its head.
pub fn mirror() -> SocketAddr {
    let (socket, address) = upstream();
    thread::spawn(move || {
        for stream in socket.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut stream = stream;
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let head = read_until(&mut stream, "\r\n\r\n");
                let length = head.len();
                let answer = [
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
                        .into_bytes(),
                    head,
                ];
                // The gateway may have been stopped.
                let _ = stream.write_all(&answer.concat());
            });
        }
    });
    address
}

/// Reads byte by byte up to and with `end`.
pub fn read_until(stream: &mut TcpStream, end: &str) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(end.as_bytes()) {
        let read = stream.read(&mut byte).unwrap();
        assert_eq!(read, 1, "the connection closed after {:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    seen
}

pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n{headers}\r\n")
}
