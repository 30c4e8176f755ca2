//! What each module asks of its host and what a host may call, as the committed text of
//! `host-tests/abi`: a change of it is a change for every host, and shows in review.
//!
//! `PORTCULLIS_ACCEPT=1 cargo test --test abi` writes the files anew.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_modules::Module;
use wasmparser::{CompositeInnerType, ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

/// Every function that a module may ask its host for, and what for. All are in proxy-wasm 0.2.1, in
/// the part of WASI that Envoy has, or in waPC; none opens a file, a socket or a process.
const ALLOWED: [(&str, &str); 36] = [
    ("env proxy_add_header_map_value", "headers of calls and of what goes on"),
    ("env proxy_call_foreign_function", "signature arithmetic by the host, where it offers that"),
    ("env proxy_continue_stream", "a request that waited goes on"),
    ("env proxy_define_metric", "metrics"),
    ("env proxy_get_buffer_bytes", "configuration, bodies, answers to calls"),
    ("env proxy_get_current_time_nanoseconds", "expiry of tokens and certificates"),
    ("env proxy_get_header_map_pairs", "headers, each value of a repeated one"),
    ("env proxy_get_log_level", "what nobody reads is not written"),
    ("env proxy_get_property", "TLS, client certificates, what the filter before has proven"),
    ("env proxy_get_shared_data", "what workers share: key sets, directories, quotas"),
    ("env proxy_http_call", "key sets, directories, registries, models"),
    ("env proxy_increment_metric", "metrics"),
    ("env proxy_log", "refusals, with their reason"),
    ("env proxy_record_metric", "metrics"),
    ("env proxy_remove_header_map_value", "headers that only the filter may set"),
    ("env proxy_replace_header_map_value", "headers that the filter sets"),
    ("env proxy_send_local_response", "refusals"),
    ("env proxy_set_buffer_bytes", "bodies that the filter changes"),
    ("env proxy_set_effective_context", "a request that waited for another's fetch"),
    ("env proxy_set_property", "what this filter has proven, for the next one"),
    ("env proxy_set_shared_data", "what workers share"),
    ("env proxy_set_tick_period_milliseconds", "refreshes and deadlines"),
    ("wapc __guest_error", "Kubewarden: an answer that is an error"),
    ("wapc __guest_request", "Kubewarden: the request"),
    ("wapc __guest_response", "Kubewarden: the answer"),
    ("wapc __host_call", "Kubewarden: reads from registries"),
    ("wapc __host_error", "Kubewarden: why a read failed"),
    ("wapc __host_error_len", "Kubewarden: why a read failed"),
    ("wapc __host_response", "Kubewarden: what was read"),
    ("wapc __host_response_len", "Kubewarden: what was read"),
    ("wasi_snapshot_preview1 clock_time_get", "the monotonic clock, and a library's time"),
    ("wasi_snapshot_preview1 environ_get", "secrets that the host hands over"),
    ("wasi_snapshot_preview1 environ_sizes_get", "secrets that the host hands over"),
    ("wasi_snapshot_preview1 fd_write", "the message of a panic"),
    ("wasi_snapshot_preview1 proc_exit", "the end after a panic"),
    ("wasi_snapshot_preview1 random_get", "keys of hash tables, back-off"),
];

/// What the SDK's traits name, so that it is linked; nothing here calls it.
/// A host that has none of it but the names runs the modules all the same.
const LINKED: [&str; 14] = [
    "env proxy_close_stream",
    "env proxy_dequeue_shared_queue",
    "env proxy_done",
    "env proxy_enqueue_shared_queue",
    "env proxy_get_header_map_value",
    "env proxy_get_status",
    "env proxy_grpc_call",
    "env proxy_grpc_cancel",
    "env proxy_grpc_close",
    "env proxy_grpc_send",
    "env proxy_grpc_stream",
    "env proxy_register_shared_queue",
    "env proxy_resolve_shared_queue",
    "env proxy_set_header_map_pairs",
];

fn modules() -> impl Iterator<Item = &'static Module> {
    portcullis_modules::ALL.iter().chain([&portcullis_modules::IMAGE_KUBEWARDEN])
}

/// The functions that a module imports, and everything that it shows, a line each.
struct Surface {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
}

impl Surface {
    fn of(wasm: &[u8]) -> Result<Self> {
        let (mut types, mut functions) = (Vec::new(), Vec::new());
        let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        for kind in group?.into_types() {
                            let CompositeInnerType::Func(function) = kind.composite_type.inner else {
                                bail!("a type that is no function's")
                            };
                            types.push(function);
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let TypeRef::Func(at) = import.ty else { bail!("`{}` is no function", import.name) };
                        functions.push(at);
                        let kind = signature(&types, at)?;
                        imports.insert(format!("{} {} {kind}", import.module, import.name));
                    }
                }
                Payload::FunctionSection(section) => {
                    for at in section {
                        functions.push(at?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        let kind = match export.kind {
                            ExternalKind::Func => {
                                let at = functions.get(export.index as usize).context("no such function")?;
                                signature(&types, *at)?
                            }
                            other => format!("{other:?}").to_lowercase(),
                        };
                        exports.insert(format!("{} {kind}", export.name));
                    }
                }
                _ => {}
            }
        }
        Ok(Self { imports, exports })
    }

    /// Module and name of each import.
    fn asked(&self) -> impl Iterator<Item = String> {
        self.imports.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
    }

    fn text(&self) -> String {
        let lines = |word: &str, lines: &BTreeSet<String>| -> String {
            lines.iter().map(|line| format!("{word} {line}\n")).collect()
        };
        lines("import", &self.imports) + &lines("export", &self.exports)
    }
}

fn signature(types: &[FuncType], at: u32) -> Result<String> {
    let function = types.get(at as usize).context("no such type")?;
    let values =
        |values: &[ValType]| values.iter().map(|value| format!("{value}")).collect::<Vec<_>>().join(" ");
    Ok(format!("({}) -> ({})", values(function.params()), values(function.results())))
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("abi").join(format!("{name}.txt"))
}

/// What is in one text and not in the other, line by line.
fn difference(before: &str, after: &str) -> String {
    let set = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, after) = (set(before), set(after));
    let gone = before.difference(&after).map(|line| format!("- {line}\n"));
    gone.chain(after.difference(&before).map(|line| format!("+ {line}\n"))).collect()
}

#[test]
fn each_module_asks_and_offers_what_is_written_down() -> Result<()> {
    let accept = env::var_os("PORTCULLIS_ACCEPT").is_some();
    let mut changed = String::new();
    for module in modules() {
        let (path, text) = (golden(module.name), Surface::of(module.wasm)?.text());
        let written = fs::read_to_string(&path).unwrap_or_default();
        if accept && written != text {
            fs::write(&path, &text).with_context(|| path.display().to_string())?;
        } else if written != text {
            changed += &format!("{}\n{}", path.display(), difference(&written, &text));
        }
    }
    ensure!(
        changed.is_empty(),
        "what modules and hosts say to each other has changed:\n{changed}\
         If every host that is named in docs/operations.md can live with it, accept it:\n  \
         PORTCULLIS_ACCEPT=1 cargo test --test abi"
    );
    Ok(())
}

#[test]
fn there_is_a_file_for_each_module_and_no_other() {
    let files: BTreeSet<_> = fs::read_dir(golden("x").parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, modules().map(|module| format!("{}.txt", module.name)).collect());
}

#[test]
fn a_module_asks_for_nothing_that_is_not_allowed_and_nothing_is_allowed_in_vain() -> Result<()> {
    let names = ALLOWED.iter().map(|(name, _)| *name).chain(LINKED);
    let allowed: BTreeSet<_> = names.collect();
    assert_eq!(allowed.len(), ALLOWED.len() + LINKED.len(), "a name is listed twice");
    let mut asked = BTreeSet::new();
    for module in modules() {
        for import in Surface::of(module.wasm)?.asked() {
            assert!(allowed.contains(import.as_str()), "{} asks for `{import}`", module.name);
            asked.insert(import);
        }
    }
    let idle: Vec<_> = allowed.iter().filter(|name| !asked.contains(**name)).collect();
    assert!(idle.is_empty(), "no module asks for {idle:?}");
    Ok(())
}

#[test]
fn a_module_that_asks_for_more_is_noticed() {
    let module = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "path_open" (func (param i32 i64) (result i32)))
            (func (export "proxy_on_tick") (param i32)))"#,
    )
    .unwrap();
    let surface = Surface::of(&module).unwrap();
    assert_eq!(
        surface.text(),
        "import wasi_snapshot_preview1 path_open (i32 i64) -> (i32)\nexport proxy_on_tick (i32) -> ()\n"
    );
    assert_eq!(surface.asked().collect::<Vec<_>>(), ["wasi_snapshot_preview1 path_open"]);
    assert_eq!(difference("a\nb\n", "b\nc\n"), "- a\n+ c\n");
}
