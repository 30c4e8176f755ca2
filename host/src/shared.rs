//! What the workers of one process share by name: data with compare-and-swap, and queues.
//!
//! The rules are the spec's as Envoy carries them out: data is per `vm_id` and outlives a VM, a
//! `cas` of 0 overwrites, a value's `cas` changes with each write; a queue tells only the root
//! context that registered it **last** that something has come, once per enqueued item.

use crate::status::Status;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many keys one `vm_id` may have, and how many items one queue may hold.
///
/// Envoy has no bound; a guest that counts on more would grow a real proxy without end.
const MAX_ENTRIES: usize = 65_536;

/// Bytes of all values, and of the items of one queue.
const MAX_BYTES: usize = 256 << 20;

/// Keys and values per `vm_id`.
#[derive(Debug, Default)]
pub(crate) struct SharedData(Mutex<Store>);

#[derive(Debug, Default)]
struct Store {
    values: HashMap<(String, Vec<u8>), (Vec<u8>, u32)>,
    bytes: usize,
    last_cas: u32,
}

impl SharedData {
    pub(crate) fn value(&self, vm_id: &str, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        lock(&self.0).values.get(&(vm_id.to_owned(), key.to_vec())).cloned()
    }

    /// A `cas` for a key that does not exist yet is not looked at, as in Envoy.
    pub(crate) fn set(&self, vm_id: &str, key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        let mut store = lock(&self.0);
        let key = (vm_id.to_owned(), key.to_vec());
        let old = match store.values.get(&key) {
            Some((_, current)) if cas != 0 && cas != *current => return Err(Status::CasMismatch),
            None if store.values.len() >= MAX_ENTRIES => return Err(Status::InternalFailure),
            Some((old, _)) => old.len(),
            None => 0,
        };
        let new = if old == 0 { key.1.len().saturating_add(value.len()) } else { value.len() };
        let bytes = store.bytes.saturating_sub(old).saturating_add(new);
        if bytes > MAX_BYTES {
            return Err(Status::InternalFailure);
        }
        store.bytes = bytes;
        // Zero means "no cas" and is never a value's own.
        store.last_cas = store.last_cas.checked_add(1).unwrap_or(1);
        let cas = store.last_cas;
        store.values.insert(key, (value.to_vec(), cas));
        Ok(())
    }
}

/// A queue has something for a root context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueReady {
    pub(crate) vm: u64,
    pub(crate) root: u32,
    pub(crate) queue: u32,
}

type Waker = Box<dyn Fn() + Send + Sync>;

/// Where one worker gets its notices from the other workers.
#[derive(Default)]
pub(crate) struct Mailbox {
    notices: Mutex<VecDeque<QueueReady>>,
    waker: Mutex<Option<Waker>>,
}

impl Mailbox {
    pub(crate) fn take(&self) -> Option<QueueReady> {
        lock(&self.notices).pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.notices).is_empty()
    }

    pub(crate) fn set_waker(&self, waker: Waker) {
        *lock(&self.waker) = Some(waker);
    }

    fn send(&self, notice: QueueReady) {
        lock(&self.notices).push_back(notice);
        if let Some(wake) = lock(&self.waker).as_ref() {
            wake();
        }
    }
}

impl core::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Mailbox").field("notices", &self.notices).finish_non_exhaustive()
    }
}

/// Queues by `vm_id` and name.
#[derive(Debug, Default)]
pub(crate) struct SharedQueues(Mutex<Queues>);

#[derive(Debug, Default)]
struct Queues {
    ids: HashMap<(String, Vec<u8>), u32>,
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    items: VecDeque<Vec<u8>>,
    bytes: usize,
    mailbox: Arc<Mailbox>,
    vm: u64,
    root: u32,
}

impl SharedQueues {
    /// Makes or takes over a queue: whoever registers last is told of what comes.
    pub(crate) fn register(
        &self,
        vm_id: &str,
        name: &[u8],
        mailbox: &Arc<Mailbox>,
        vm: u64,
        root: u32,
    ) -> Result<u32, Status> {
        let mut all = lock(&self.0);
        let key = (vm_id.to_owned(), name.to_vec());
        if let Some(id) = all.ids.get(&key).copied() {
            let queue = all.queue(id)?;
            (queue.mailbox, queue.vm, queue.root) = (Arc::clone(mailbox), vm, root);
            return Ok(id);
        }
        if all.queues.len() >= MAX_ENTRIES {
            return Err(Status::InternalFailure);
        }
        all.queues.push(Queue { items: VecDeque::new(), bytes: 0, mailbox: Arc::clone(mailbox), vm, root });
        let id = u32::try_from(all.queues.len()).map_err(|_| Status::InternalFailure)?;
        all.ids.insert(key, id);
        Ok(id)
    }

    pub(crate) fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        lock(&self.0).ids.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    pub(crate) fn enqueue(&self, id: u32, item: Vec<u8>) -> Result<(), Status> {
        let (mailbox, notice) = {
            let mut all = lock(&self.0);
            let queue = all.queue(id)?;
            let bytes = queue.bytes.saturating_add(item.len());
            if queue.items.len() >= MAX_ENTRIES || bytes > MAX_BYTES {
                return Err(Status::InternalFailure);
            }
            queue.bytes = bytes;
            queue.items.push_back(item);
            (Arc::clone(&queue.mailbox), QueueReady { vm: queue.vm, root: queue.root, queue: id })
        };
        mailbox.send(notice);
        Ok(())
    }

    pub(crate) fn dequeue(&self, id: u32) -> Result<Vec<u8>, Status> {
        let mut all = lock(&self.0);
        let queue = all.queue(id)?;
        let item = queue.items.pop_front().ok_or(Status::Empty)?;
        queue.bytes = queue.bytes.saturating_sub(item.len());
        Ok(item)
    }
}

impl Queues {
    fn queue(&mut self, id: u32) -> Result<&mut Queue, Status> {
        let index = id.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.queues.get_mut(index)).ok_or(Status::NotFound)
    }
}

/// A lock that another thread's panic does not close: every value here is whole between calls.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_cas_is_refused_and_a_cas_of_zero_overwrites() {
        let data = SharedData::default();
        data.set("vm", b"k", b"1", 77).unwrap();
        let (_, first) = data.value("vm", b"k").unwrap();
        data.set("vm", b"k", b"2", first).unwrap();
        assert_eq!(data.set("vm", b"k", b"3", first), Err(Status::CasMismatch));
        data.set("vm", b"k", b"4", 0).unwrap();
        assert_eq!(data.value("vm", b"k").unwrap().0, b"4");
        assert_eq!(data.value("other", b"k"), None);
    }

    #[test]
    fn only_the_last_root_to_register_a_queue_is_told() {
        let queues = SharedQueues::default();
        let (first, last) = (Arc::new(Mailbox::default()), Arc::new(Mailbox::default()));
        let id = queues.register("vm", b"q", &first, 1, 1).unwrap();
        assert_eq!(queues.register("vm", b"q", &last, 2, 5), Ok(id));
        queues.enqueue(id, b"item".to_vec()).unwrap();
        assert!(first.is_empty());
        assert_eq!(last.take(), Some(QueueReady { vm: 2, root: 5, queue: id }));
        assert_eq!(queues.dequeue(id), Ok(b"item".to_vec()));
        assert_eq!(queues.dequeue(id), Err(Status::Empty));
        assert_eq!(queues.dequeue(0), Err(Status::NotFound));
    }
}
