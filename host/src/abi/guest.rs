//! [`Guest`]: checked access to the memory of the guest that made a host call.

use crate::state::State;
use crate::status::{Failure, Status};
use wasmtime::{AsContext, AsContextMut, Caller, Memory};

/// Bytes of a subject that the record keeps.
const MAX_SUBJECT: usize = 256;

/// The guest in the middle of a host call.
pub(crate) struct Guest<'a, 'b> {
    caller: &'a mut Caller<'b, State>,
    memory: Memory,
}

impl<'a, 'b> Guest<'a, 'b> {
    /// Fails while the guest's memory is not known yet: in a WebAssembly start function.
    pub(crate) fn new(caller: &'a mut Caller<'b, State>) -> Result<Self, Failure> {
        let memory = caller.data().memory.ok_or(Status::InvalidMemoryAccess)?;
        Ok(Self { caller, memory })
    }

    pub(crate) fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    /// Says what this call is about, for the record.
    pub(crate) fn about(&mut self, subject: &[u8]) {
        let state = self.caller.data_mut();
        if state.process.0.recorder.is_keeping() {
            state.subject =
                String::from_utf8_lossy(subject.get(..MAX_SUBJECT).unwrap_or(subject)).into_owned();
        }
    }

    /// The bytes at an address, copied: the guest can change its memory whenever it runs. The copy
    /// is bounded by the memory the guest has.
    pub(crate) fn bytes(&self, address: u32, size: u32) -> Result<Vec<u8>, Failure> {
        self.slice(address, size).map(<[u8]>::to_vec)
    }

    /// The bytes at an address, as long as nothing else happens.
    pub(crate) fn slice(&self, address: u32, size: u32) -> Result<&[u8], Failure> {
        let range = range(address, size)?;
        let data = self.memory.data(self.caller.as_context());
        // A null pointer with no size is how SDKs write an empty slice, so only the end is checked.
        data.get(range).ok_or_else(|| Status::InvalidMemoryAccess.into())
    }

    /// Is there memory for so many bytes?
    pub(crate) fn check(&self, address: u32, size: u32) -> Result<(), Failure> {
        self.slice(address, size).map(|_| ())
    }

    pub(crate) fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Failure> {
        let range = range(address, u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?)?;
        let data = self.memory.data_mut(self.caller.as_context_mut());
        data.get_mut(range).ok_or(Status::InvalidMemoryAccess)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn write_word(&mut self, address: u32, word: u32) -> Result<(), Failure> {
        self.write(address, &word.to_le_bytes())
    }

    /// Hands bytes over: asks the guest for memory, copies, and writes address and size. No bytes
    /// are a null pointer.
    ///
    /// The guest's allocator is guest code: it may trap, grow or lie, so the address it gives and
    /// the two places are checked after it has run.
    pub(crate) fn give(&mut self, bytes: &[u8], address_at: u32, size_at: u32) -> Result<(), Failure> {
        let size = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        let address = if size == 0 { 0 } else { self.allocate(size)? };
        self.write(address, bytes)?;
        self.write_word(address_at, address)?;
        self.write_word(size_at, size)
    }

    fn allocate(&mut self, size: u32) -> Result<u32, Failure> {
        let allocate = self.caller.data().allocate.clone().ok_or(Status::InternalFailure)?;
        let address = allocate.call(self.caller.as_context_mut(), size)?;
        if address == 0 { Err(Status::InvalidMemoryAccess.into()) } else { Ok(address) }
    }
}

fn range(address: u32, size: u32) -> Result<core::ops::Range<usize>, Failure> {
    let start = usize::try_from(address).map_err(|_| Status::InvalidMemoryAccess)?;
    let size = usize::try_from(size).map_err(|_| Status::InvalidMemoryAccess)?;
    Ok(start..start.checked_add(size).ok_or(Status::InvalidMemoryAccess)?)
}
