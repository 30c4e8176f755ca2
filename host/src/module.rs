//! [`Engine`] and [`Module`]: from bytes to code that can be instantiated, checked at load.

use crate::abi;
use crate::error::HostError;
use crate::state::State;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{Config, ExternType, InstancePre, Linker, UnknownImportError};

/// How often the engine looks whether a callback has run too long.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);

/// The compiler and the host functions; one is enough for a program. A clone is the same engine.
///
/// It owns a thread that ticks every 10 ms, for the time limit of callbacks; the thread ends when
/// the last engine and module are gone.
#[derive(Clone)]
pub struct Engine(Arc<EngineParts>);

struct EngineParts {
    engine: wasmtime::Engine,
    counts: bool,
    linker: Linker<State>,
}

impl Engine {
    /// An engine with the WebAssembly features of Envoy's V8 that this project uses.
    ///
    /// # Errors
    ///
    /// [`HostError::Engine`] when the machine cannot run compiled WebAssembly.
    pub fn new() -> Result<Self, HostError> {
        Self::with(false)
    }

    /// The same, which counts the instructions that modules execute: see
    /// [`Worker::instructions`](crate::Worker::instructions). Modules run slower for it.
    ///
    /// # Errors
    ///
    /// As [`Engine::new`].
    pub fn counting() -> Result<Self, HostError> {
        Self::with(true)
    }

    fn with(counts: bool) -> Result<Self, HostError> {
        let mut config = Config::new();
        config.epoch_interruption(true).consume_fuel(counts);
        // Envoy's V8 refuses these two, so a module must not get by with them here.
        config.wasm_wide_arithmetic(false).wasm_memory64(false).wasm_multi_memory(false);
        let engine = wasmtime::Engine::new(&config).map_err(HostError::Engine)?;
        let mut linker = Linker::new(&engine);
        abi::link(&mut linker).map_err(HostError::Engine)?;
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("wasm-epoch".to_owned())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(EPOCH);
                }
            })
            .map_err(|error| HostError::Engine(error.into()))?;
        Ok(Self(Arc::new(EngineParts { engine, counts, linker })))
    }
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Engine")
    }
}

/// A compiled proxy-wasm plugin, ready for any number of VMs. A clone is the same module.
#[derive(Clone)]
pub struct Module {
    pre: InstancePre<State>,
    counts: bool,
}

impl Module {
    /// Compiles a module and checks that every import of it is known and that it says its ABI.
    ///
    /// # Errors
    ///
    /// [`HostError::InvalidModule`], [`HostError::UnknownImport`], [`HostError::WrongSignature`],
    /// [`HostError::UnknownAbi`] or [`HostError::MissingExport`].
    pub fn compile(engine: &Engine, wasm: &[u8]) -> Result<Self, HostError> {
        let module =
            wasmtime::Module::from_binary(&engine.0.engine, wasm).map_err(HostError::InvalidModule)?;
        Self::checked(engine, &module)
    }

    /// The same through a folder that keeps compiled modules by the hash of their bytes, so that
    /// compiling (most of a second for a plugin) happens once. The folder is made, for its owner
    /// alone. An entry that cannot be used is compiled anew; an entry that cannot be written is not
    /// an error.
    ///
    /// **The folder is trusted**: who can write to it can run any code as this process.
    ///
    /// # Errors
    ///
    /// As [`Module::compile`], and [`HostError::Cache`] when the folder cannot be made or belongs
    /// to others as well.
    pub fn cached(engine: &Engine, wasm: &[u8], folder: &Path) -> Result<Self, HostError> {
        private_folder(folder).map_err(HostError::Cache)?;
        let path = folder.join(entry_name(engine, wasm));
        if let Some(module) = load(engine, &path) {
            return Self::checked(engine, &module);
        }
        let module =
            wasmtime::Module::from_binary(&engine.0.engine, wasm).map_err(HostError::InvalidModule)?;
        if let Ok(code) = module.serialize() {
            // Best effort: a full disk costs time at the next start, nothing else.
            let _ = store(folder, &path, &code);
        }
        Self::checked(engine, &module)
    }

    fn checked(engine: &Engine, module: &wasmtime::Module) -> Result<Self, HostError> {
        let exports = |name: &str| module.get_export(name).is_some();
        if !exports("proxy_abi_version_0_2_1") && !exports("proxy_abi_version_0_2_0") {
            return Err(HostError::UnknownAbi);
        }
        if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
            return Err(HostError::MissingExport("memory"));
        }
        if !exports("malloc") && !exports("proxy_on_memory_allocate") {
            return Err(HostError::MissingExport("proxy_on_memory_allocate"));
        }
        let counts = engine.0.counts;
        engine.0.linker.instantiate_pre(module).map(|pre| Self { pre, counts }).map_err(|error| {
            match error.downcast_ref::<UnknownImportError>() {
                Some(unknown) => {
                    let (module, name) = (unknown.module().to_owned(), unknown.name().to_owned());
                    HostError::UnknownImport { module, name }
                }
                None => HostError::WrongSignature(error),
            }
        })
    }

    pub(crate) fn pre(&self) -> &InstancePre<State> {
        &self.pre
    }

    /// Whether its engine counts instructions.
    pub(crate) fn counts(&self) -> bool {
        self.counts
    }
}

impl core::fmt::Debug for Module {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Module")
    }
}

/// The bytes, the version of the compiler and its settings, all in one name.
fn entry_name(engine: &Engine, wasm: &[u8]) -> String {
    let mut compatible = HashBytes(Sha256::new());
    core::hash::Hash::hash(&engine.0.engine.precompile_compatibility_hash(), &mut compatible);
    compatible.0.update(wasm);
    let digest: [u8; 32] = compatible.0.finalize().into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + ".cwasm"
}

/// A hasher whose whole digest is used: 64 bits would be too few for a name that stands for code.
struct HashBytes(Sha256);

impl core::hash::Hasher for HashBytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[expect(
    unsafe_code,
    reason = "deserialize runs the file's machine code; `cached` says that its folder is trusted"
)]
fn load(engine: &Engine, path: &Path) -> Option<wasmtime::Module> {
    let code = std::fs::read(path).ok()?;
    // SAFETY: the file is one that `store` wrote: its folder belongs to this user alone, was checked
    // just before, and the name carries the hash of the module and of the compiler's settings.
    // wasmtime checks version and settings again.
    unsafe { wasmtime::Module::deserialize(&engine.0.engine, code) }.ok()
}

/// Writes beside and renames, so that no reader sees half an entry.
fn store(folder: &Path, path: &Path, code: &[u8]) -> std::io::Result<()> {
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(std::io::Error::other)?;
    let beside = folder.join(format!("{:016x}.tmp", u64::from_le_bytes(unique)));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut file| file.write_all(code));
    written.and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}

fn private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let about = std::fs::metadata(folder)?;
        if about.mode() & 0o022 != 0 {
            let text =
                format!("`{}` can be written by other users; it must be its owner's alone", folder.display());
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, text));
        }
    }
    Ok(())
}
