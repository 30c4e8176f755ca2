//! The host side of waPC over wasmtime, as small as a test needs it: one guest call at a time, host
//! calls to a function of the test's, and the few WASI calls that a guest makes. (The crate
//! `wasmtime-provider` would bring a second wasmtime.)

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use wasmtime::{
    Caller, Config, Engine, Extern, Linker, Memory, Module, Result, Store, bail, ensure, error::Context as _,
};

/// Answers host calls: the namespace with the operation, and the payload.
pub type HostCalls = Rc<dyn Fn(&str, &[u8]) -> Result<Vec<u8>, String>>;

/// What came of a call: the guest's response or its error, and the host calls that it made.
pub type Called = (std::result::Result<Vec<u8>, String>, Vec<String>);

/// A guest, compiled; each call gets an instance of its own.
pub struct Guest {
    module: Module,
    linker: Linker<State>,
}

struct State {
    operation: Vec<u8>,
    request: Vec<u8>,
    response: Vec<u8>,
    error: Vec<u8>,
    host_response: Vec<u8>,
    host_error: Vec<u8>,
    host_calls: HostCalls,
    /// The namespaces and operations that were called.
    called: Rc<RefCell<Vec<String>>>,
    seconds: u64,
}

type Guested<'a> = Caller<'a, State>;

fn memory(caller: &mut Guested<'_>) -> Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => bail!("the guest has no memory"),
    }
}

fn write(caller: &mut Guested<'_>, at: u32, bytes: &[u8]) -> Result<()> {
    Ok(memory(caller)?.write(caller, usize::try_from(at)?, bytes)?)
}

fn read(caller: &mut Guested<'_>, at: u32, length: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length)?];
    memory(caller)?.read(&caller, usize::try_from(at)?, &mut bytes)?;
    Ok(bytes)
}

fn length(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap_or(i32::MAX)
}

impl Guest {
    /// Compiles `wasm`.
    pub fn compile(wasm: &[u8]) -> Result<Module> {
        Module::from_binary(&Engine::new(&Config::new())?, wasm)
    }

    /// A guest of `module`.
    pub fn new(module: &Module) -> Result<Self> {
        let mut linker = Linker::new(module.engine());
        wapc(&mut linker)?;
        wasi(&mut linker)?;
        Ok(Self { module: module.clone(), linker })
    }

    /// Calls `operation` with `request` at `seconds` since 1970.
    pub fn call(
        &self,
        operation: &str,
        request: &[u8],
        seconds: u64,
        host_calls: HostCalls,
    ) -> Result<Called> {
        let called = Rc::new(RefCell::new(Vec::new()));
        let state = State {
            operation: operation.into(),
            request: request.into(),
            response: Vec::new(),
            error: Vec::new(),
            host_response: Vec::new(),
            host_error: Vec::new(),
            host_calls,
            called: Rc::clone(&called),
            seconds,
        };
        let mut store = Store::new(self.module.engine(), state);
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        for start in ["_initialize", "wapc_init"] {
            if let Ok(start) = instance.get_typed_func::<(), ()>(&mut store, start) {
                start.call(&mut store, ())?;
            }
        }
        let call = instance.get_typed_func::<(i32, i32), i32>(&mut store, "__guest_call")?;
        let (operation, request) = (length(operation.as_bytes()), length(request));
        let good = call.call(&mut store, (operation, request))? == 1;
        let state = store.into_data();
        let result =
            if good { Ok(state.response) } else { Err(String::from_utf8_lossy(&state.error).into_owned()) };
        Ok((result, called.take()))
    }

    /// The custom sections by name.
    pub fn sections(wasm: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
        // A module's sections: an ID, a length, and for custom ones (0) a name first.
        fn number(bytes: &mut &[u8]) -> Result<usize> {
            let (mut value, mut shift) = (0_usize, 0_u32);
            loop {
                let (first, rest) = bytes.split_first().context("the module ends")?;
                *bytes = rest;
                value |= usize::from(first & 0x7f) << shift;
                if first & 0x80 == 0 {
                    return Ok(value);
                }
                shift += 7;
                ensure!(shift < 35, "a number is too long");
            }
        }
        let mut sections = BTreeMap::new();
        let mut rest = wasm.get(8..).context("no module")?;
        while let Some((id, after)) = rest.split_first() {
            rest = after;
            let size = number(&mut rest)?;
            let (mut section, after) = rest.split_at_checked(size).context("a section beyond the end")?;
            rest = after;
            if *id == 0 {
                let size = number(&mut section)?;
                let (name, data) = section.split_at_checked(size).context("a name beyond the end")?;
                sections.insert(String::from_utf8(name.to_vec())?, data.to_vec());
            }
        }
        Ok(sections)
    }
}

/// The functions of waPC's protocol.
fn wapc(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "wapc",
        "__guest_request",
        |mut caller: Guested<'_>, operation: u32, request: u32| {
            let (name, payload) = (caller.data().operation.clone(), caller.data().request.clone());
            write(&mut caller, operation, &name)?;
            write(&mut caller, request, &payload)?;
            Result::Ok(())
        },
    )?;
    linker.func_wrap("wapc", "__guest_response", |mut caller: Guested<'_>, at: u32, length: u32| {
        caller.data_mut().response = read(&mut caller, at, length)?;
        Result::Ok(())
    })?;
    linker.func_wrap("wapc", "__guest_error", |mut caller: Guested<'_>, at: u32, length: u32| {
        caller.data_mut().error = read(&mut caller, at, length)?;
        Result::Ok(())
    })?;
    linker.func_wrap("wapc", "__console_log", |_: Guested<'_>, _: u32, _: u32| {})?;
    type Place = (u32, u32);
    let host_call =
        |mut caller: Guested<'_>, binding: Place, namespace: Place, operation: Place, payload: Place| {
            let mut text = |(at, length): Place| read(&mut caller, at, length);
            let (binding, namespace) = (text(binding)?, text(namespace)?);
            let (operation, payload) = (text(operation)?, text(payload)?);
            let name = format!("{}/{}", String::from_utf8(namespace)?, String::from_utf8(operation)?);
            ensure!(binding == b"kubewarden", "another binding");
            caller.data().called.borrow_mut().push(name.clone());
            let calls = Rc::clone(&caller.data().host_calls);
            Ok(match calls(&name, &payload) {
                Ok(response) => {
                    caller.data_mut().host_response = response;
                    1
                }
                Err(error) => {
                    caller.data_mut().host_error = error.into_bytes();
                    0
                }
            })
        };
    linker.func_wrap(
        "wapc",
        "__host_call",
        move |caller: Guested<'_>, b: u32, bl: u32, n: u32, nl: u32, o: u32, ol: u32, p: u32, pl: u32| {
            host_call(caller, (b, bl), (n, nl), (o, ol), (p, pl))
        },
    )?;
    linker.func_wrap("wapc", "__host_response_len", |caller: Guested<'_>| {
        length(&caller.data().host_response)
    })?;
    linker.func_wrap("wapc", "__host_error_len", |caller: Guested<'_>| length(&caller.data().host_error))?;
    linker.func_wrap("wapc", "__host_response", |mut caller: Guested<'_>, at: u32| {
        let bytes = caller.data().host_response.clone();
        write(&mut caller, at, &bytes)
    })?;
    linker.func_wrap("wapc", "__host_error", |mut caller: Guested<'_>, at: u32| {
        let bytes = caller.data().host_error.clone();
        write(&mut caller, at, &bytes)
    })?;
    Ok(())
}

/// Time, seeds for hash maps and standard error; no files, no environment.
fn wasi(linker: &mut Linker<State>) -> Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(WASI, "clock_time_get", |mut caller: Guested<'_>, _: u32, _: u64, at: u32| {
        let nanoseconds = caller.data().seconds * 1_000_000_000;
        write(&mut caller, at, &nanoseconds.to_le_bytes())?;
        Result::Ok(0)
    })?;
    linker.func_wrap(WASI, "random_get", |mut caller: Guested<'_>, at: u32, length: u32| {
        write(&mut caller, at, &vec![7; usize::try_from(length)?])?;
        Result::Ok(0)
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut caller: Guested<'_>, count: u32, size: u32| {
        write(&mut caller, count, &[0; 4])?;
        write(&mut caller, size, &[0; 4])?;
        Result::Ok(0)
    })?;
    linker.func_wrap(WASI, "environ_get", |_: Guested<'_>, _: u32, _: u32| 0)?;
    linker.func_wrap(WASI, "sched_yield", |_: Guested<'_>| 0)?;
    linker.func_wrap(
        WASI,
        "fd_write",
        |mut caller: Guested<'_>, _: u32, vectors: u32, count: u32, done: u32| {
            let mut text = Vec::new();
            for index in 0..count {
                let vector = read(&mut caller, vectors + index * 8, 8)?;
                let number = |at: usize| {
                    u32::from_le_bytes([vector[at], vector[at + 1], vector[at + 2], vector[at + 3]])
                };
                text.extend(read(&mut caller, number(0), number(4))?);
            }
            eprint!("{}", String::from_utf8_lossy(&text));
            write(&mut caller, done, &u32::try_from(text.len())?.to_le_bytes())?;
            Result::Ok(0)
        },
    )?;
    linker.func_wrap(WASI, "proc_exit", |_: Guested<'_>, code: u32| -> Result<()> {
        Err(wasmtime::Error::msg(format!("the guest exits with {code}")))
    })?;
    Ok(())
}
