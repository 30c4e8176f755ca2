//! What workers share and tests control: data, queues, metrics, time, randomness, refusals, record.

mod common;

use common::{bytes, guest, module, on_request_headers, request, worker};
use portcullis_host::{
    Answer, CallFailure, CallResponse, Clock, Engine, Module, Plugin, Process, Simulation, Status,
    VirtualClock, When, Worker,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[test]
fn everything_can_be_handed_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Worker>();
    is_send::<Process>();
    is_send::<Module>();
    is_send::<Simulation>();
}

/// On each request: registers the queue `q`, and enqueues `item` when the request has 2 headers.
fn queues() -> Vec<u8> {
    guest(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
             (drop (call $register (i32.const 16) (i32.const 1) (i32.const 32))) (i32.const 1))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $enqueue (i32.load (i32.const 32)) (i32.const 17) (i32.const 4))) (i32.const 0))
           (func (export "proxy_on_queue_ready") (param i32 i32) (result)
             (drop (call $dequeue (local.get 1) (i32.const 40) (i32.const 44)))
             (drop (call $log (i32.const 2) (i32.load (i32.const 40)) (i32.load (i32.const 44)))))
           (data (i32.const 16) "qitem")"#,
    )
}

#[test]
fn an_item_is_announced_to_the_worker_that_registered_the_queue_last() {
    let process = Process::new();
    let (mut first, mut last) = (worker(&process, &queues()), worker(&process, &queues()));
    let wakes = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&wakes);
    last.on_wake(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let _ = request(&mut first);
    assert!(first.poll().is_empty());
    assert_eq!(process.log(), []);
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
    assert!(last.has_work());
    assert!(last.poll().is_empty());
    assert_eq!(process.log().last().map(|line| line.text.clone()), Some("item".to_owned()));
}

#[test]
fn workers_share_data_and_a_stale_cas_is_a_mismatch() {
    // Sets the key with cas 0, then with a cas that is not the value's: 8 is CasMismatch.
    let callback = on_request_headers(
        r#"(if (call $set_data (i32.const 16) (i32.const 1) (i32.const 17) (i32.const 5) (i32.const 0)) (then unreachable))
           (if (call $data (i32.const 16) (i32.const 1) (i32.const 32) (i32.const 36) (i32.const 40)) (then unreachable))
           (if (i32.eqz (i32.load (i32.const 40))) (then unreachable))
           (if (i32.ne (call $set_data (i32.const 16) (i32.const 1) (i32.const 17) (i32.const 5)
                             (i32.add (i32.load (i32.const 40)) (i32.const 1))) (i32.const 8)) (then unreachable))
           (i32.const 0)"#,
    );
    let process = Process::new();
    let mut worker = worker(&process, &guest(&format!(r#"(data (i32.const 16) "kvalue") {callback}"#)));
    let (_, outcome) = request(&mut worker);
    assert!(outcome.is_forward(), "{outcome:?}");
    assert_eq!(process.shared_data("guest", "k").unwrap().0, b"value");
    assert_eq!(process.shared_data("another vm_id", "k"), None);
}

#[test]
fn metrics_of_all_workers_are_one() {
    let callback = on_request_headers(
        r#"(if (call $define (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 32)) (then unreachable))
           (if (call $increment (i32.load (i32.const 32)) (i64.const 2)) (then unreachable))
           (if (i32.ne (call $increment (i32.load (i32.const 32)) (i64.const -1)) (i32.const 2)) (then unreachable))
           (if (call $define (i32.const 2) (i32.const 16) (i32.const 3) (i32.const 32)) (then unreachable))
           (if (call $record (i32.load (i32.const 32)) (i64.const 5)) (then unreachable))
           (if (i32.ne (call $metric (i32.load (i32.const 32)) (i32.const 40)) (i32.const 2)) (then unreachable))
           (i32.const 0)"#,
    );
    let wasm = guest(&format!(r#"(data (i32.const 16) "hit") {callback}"#));
    let process = Process::new();
    for _ in 0..2 {
        let (_, outcome) = request(&mut worker(&process, &wasm));
        assert!(outcome.is_forward(), "{outcome:?}");
    }
    assert_eq!(process.counter("hit"), Some(4));
    assert_eq!(process.histogram("hit"), Some((10, 2)));
    assert_eq!(process.gauge("hit"), None);
}

/// Ticks every 20 ms and logs the seconds of its time of day as one byte.
fn ticks() -> Vec<u8> {
    guest(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const 20))) (i32.const 1))
           (func (export "proxy_on_tick") (param i32)
             (drop (call $time (i32.const 32)))
             (i64.store8 (i32.const 40) (i64.div_u (i64.load (i32.const 32)) (i64.const 1000000000)))
             (drop (call $log (i32.const 2) (i32.const 40) (i32.const 1))))"#,
    )
}

#[test]
fn ticks_come_in_virtual_time_and_the_wall_clock_can_jump_back() {
    let clock = VirtualClock::at_unix_seconds(66);
    let process = Process::builder().clock(clock.clone()).build();
    let mut worker = worker(&process, &ticks());
    assert_eq!(worker.next_tick(), Some(Duration::from_millis(20)));
    assert!(worker.poll().is_empty());
    clock.advance(Duration::from_millis(20));
    let _ = worker.poll();
    clock.set_wall(Duration::from_secs(65));
    clock.advance(Duration::from_millis(100));
    let _ = worker.poll();
    assert_eq!(worker.next_tick(), Some(Duration::from_millis(140)), "a late tick is not made up for");
    assert_eq!(process.log().iter().map(|line| line.text.as_str()).collect::<String>(), "BA");
}

#[test]
fn a_simulation_runs_the_ticks_of_a_span() {
    let clock = VirtualClock::at_unix_seconds(66);
    let process = Process::builder().clock(clock.clone()).build();
    let mut worker = worker(&process, &ticks());
    let events = Simulation::new(clock.clone()).run_for(Duration::from_millis(100), &mut [&mut worker]);
    assert!(events.is_empty());
    assert_eq!(process.log().len(), 5);
    assert_eq!(clock.monotonic(), Duration::from_millis(100));
}

#[test]
fn the_same_seed_gives_the_same_randomness() {
    let callback = on_request_headers(
        r#"(if (call $random (i32.const 32) (i32.const 16)) (then unreachable))
           (drop (call $add (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 32) (i32.const 16)))
           (i32.const 0)"#,
    );
    let wasm = guest(&format!(r#"(data (i32.const 16) "r") {callback}"#));
    let draw = |process: Process| {
        request(&mut worker(&process, &wasm)).1.headers().unwrap().first("r").map(<[u8]>::to_vec)
    };
    let seeded = |seed| draw(Process::builder().seed(seed).build());
    assert_eq!(seeded(7), seeded(7));
    assert_ne!(seeded(7), seeded(8));
    assert_ne!(draw(Process::new()), draw(Process::new()));
}

/// Removes the header `x` twice.
fn removes_twice() -> Vec<u8> {
    let remove = "(drop (call $remove (i32.const 0) (i32.const 16) (i32.const 1)))";
    guest(&format!(
        r#"(data (i32.const 16) "x") {}"#,
        on_request_headers(&format!("{remove} {remove} (i32.const 0)"))
    ))
}

#[test]
fn a_refused_host_call_does_nothing_and_says_so() {
    let process = Process::builder().recording().build();
    process.refuse("proxy_remove_header_map_value", Status::InternalFailure, When::Nth(2));
    let mut worker = worker(&process, &removes_twice());
    let _ = request(&mut worker);
    let record = process.take_record();
    assert_eq!(
        record.iter().map(|effect| (effect.subject.as_str(), effect.status)).collect::<Vec<_>>(),
        [("x", 0), ("", 10)]
    );
    process.refuse("proxy_remove_header_map_value", Status::BadArgument, When::Always);
    let _ = request(&mut worker);
    assert!(process.take_record().iter().all(|effect| effect.status == 2));
    process.refuse_nothing();
    let _ = request(&mut worker);
    assert!(process.take_record().iter().all(|effect| effect.status == 0));
    assert_eq!(process.host_calls().get("proxy_remove_header_map_value"), Some(&6));
    assert_eq!(process.host_call_total(), 6);
}

#[test]
#[should_panic(expected = "no such host call")]
fn refusing_a_host_call_that_does_not_exist_is_a_mistake() {
    Process::new().refuse("proxy_fly", Status::InternalFailure, When::Always);
}

/// Calls `idp` on each request and logs how many headers and body bytes come back, as two digits.
fn calls() -> Vec<u8> {
    let pairs = "\\03\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00\\05\\00\\00\\00\\01\\00\\00\\00\\0a\\00\\00\\00\\01\\00\\00\\00\
                 :method\\00GET\\00:path\\00/\\00:authority\\00a\\00";
    guest(&format!(
        r#"(data (i32.const 16) "idp") (data (i32.const 64) "{pairs}")
           {}
           (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
             (i32.store8 (i32.const 200) (i32.add (i32.const 48) (local.get 2)))
             (i32.store8 (i32.const 201) (i32.add (i32.const 48) (local.get 3)))
             (drop (call $log (i32.const 2) (i32.const 200) (i32.const 2))))"#,
        on_request_headers(
            r#"(if (call $http (i32.const 16) (i32.const 3) (i32.const 64) (i32.const 61) (i32.const 0) (i32.const 0)
                         (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32)) (then unreachable))
               (i32.const 0)"#
        )
    ))
}

#[test]
fn a_failed_call_has_no_headers_and_a_late_one_is_envoys_504() {
    let answers = [
        (Answer::now(CallResponse::new(200, "ab")), "12", 0),
        (Answer::after(Duration::from_millis(300), CallResponse::new(200, "")), "10", 300),
        (Answer::reset(), "00", 0),
        (Answer::after(Duration::from_secs(5), CallResponse::new(200, "ab")), "2H", 1000),
        (Answer::never(), "2H", 1000),
    ];
    for (answer, logged, after) in answers {
        let clock = VirtualClock::default();
        let process = Process::builder().clock(clock.clone()).cluster("idp").build();
        let mut worker = worker(&process, &calls());
        let (_, outcome) = request(&mut worker);
        assert!(outcome.is_forward(), "{outcome:?}");
        let script = answer.clone();
        let mut world = Simulation::new(clock.clone()).upstream("idp", move |_| script.clone());
        assert!(world.run_until_idle(&mut [&mut worker]).is_empty());
        assert_eq!(process.log().last().map(|line| line.text.clone()), Some(logged.to_owned()), "{answer:?}");
        assert_eq!(clock.monotonic(), Duration::from_millis(after), "{answer:?}");
        assert_eq!(world.calls().len(), 1);
    }
}

#[test]
fn an_answer_to_a_vm_that_was_replaced_is_dropped() {
    let process = Process::builder().cluster("idp").build();
    let mut worker = worker(&process, &calls());
    let (stream, _) = request(&mut worker);
    worker.close(stream);
    let call = worker.take_calls().remove(0);
    worker.restart(0).unwrap();
    assert!(worker.complete_call(call.id, Err(CallFailure)).is_empty());
    assert_eq!(process.log(), []);
}

/// Accepts a configuration of one byte and adds it to each request as the header `c`.
fn configured() -> Vec<u8> {
    guest(
        r#"(data (i32.const 16) "c")
           (func (export "proxy_on_configure") (param i32 i32) (result i32)
             (drop (call $buffer (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 32) (i32.const 36)))
             (if (i32.ne (local.get 1) (i32.const 1)) (then (return (i32.const 0))))
             (i32.store8 (i32.const 48) (i32.load8_u (i32.load (i32.const 32))))
             (i32.const 1))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $add (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 48) (i32.const 1)))
             (i32.const 0))"#,
    )
}

#[test]
fn a_refused_new_configuration_leaves_the_old_one_working() {
    let process = Process::new();
    let mut worker = Worker::new(&process);
    worker.add(&module(&configured()), Plugin::new("guest").configuration("a")).unwrap();
    worker.reconfigure(0, "too long").unwrap_err();
    assert_eq!(request(&mut worker).1.headers().unwrap().text("c"), Some("a"));
    worker.reconfigure(0, "b").unwrap();
    assert_eq!(request(&mut worker).1.headers().unwrap().text("c"), Some("b"));
}

#[test]
fn a_stream_that_is_under_way_finishes_in_the_vm_it_began_in() {
    let held = guest(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
           (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
             (drop (call $add (i32.const 2) (i32.const 16) (i32.const 3) (i32.const 16) (i32.const 3))) (i32.const 0))
           (data (i32.const 16) "old")"#,
    );
    let mut worker = worker(&Process::new(), &held);
    let (stream, _) = request(&mut worker);
    worker.replace(0, &module(&guest("")), Plugin::new("new")).unwrap();
    let outcome = worker.response_headers(stream, [(":status", "200")], true);
    assert_eq!(outcome.headers().unwrap().text("old"), Some("old"));
    worker.close(stream);
}

#[test]
fn environment_and_standard_output_reach_and_leave_the_guest() {
    let callback = on_request_headers(
        r#"(if (call $environ (i32.const 32) (i32.const 64)) (then unreachable))
           (i32.store (i32.const 40) (i32.load (i32.const 32))) (i32.store (i32.const 44) (i32.const 3))
           (if (call $fd_write (i32.const 2) (i32.const 40) (i32.const 1) (i32.const 48)) (then unreachable))
           (i32.const 0)"#,
    );
    let process = Process::builder().environment("A", "b").build();
    let _ = request(&mut worker(&process, &guest(&callback)));
    assert_eq!(process.log().iter().map(ToString::to_string).collect::<Vec<_>>(), ["[error] guest: A=b"]);
}

#[test]
fn a_compiled_module_is_kept_and_a_spoiled_entry_is_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("modules");
    let engine = Engine::new().unwrap();
    let wasm = bytes(
        r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
             (func (export "malloc") (param i32) (result i32) (i32.const 8)))"#,
    );
    Module::cached(&engine, &wasm, &folder).unwrap();
    let entries =
        || std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let [entry] = entries().try_into().unwrap();
    Module::cached(&engine, &wasm, &folder).unwrap();
    assert_eq!(entries(), std::slice::from_ref(&entry));
    std::fs::write(&entry, b"not code").unwrap();
    Module::cached(&engine, &wasm, &folder).unwrap();
    assert!(std::fs::metadata(&entry).unwrap().len() > 100, "the entry was written anew");
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_write_is_not_used_for_compiled_modules() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = Module::cached(&Engine::new().unwrap(), &guest(""), folder.path()).unwrap_err();
    assert!(error.to_string().contains("owner's alone"), "{error}");
}

#[test]
fn a_foreign_function_that_is_not_offered_is_not_found() {
    // The status, as a letter after `0`, is added as the header `s`.
    let callback = on_request_headers(
        r#"(i32.store8 (i32.const 48) (i32.add (i32.const 48)
             (call $foreign (i32.const 16) (i32.const 16) (i32.const 0) (i32.const 0) (i32.const 32) (i32.const 36))))
           (drop (call $add (i32.const 0) (i32.const 22) (i32.const 1) (i32.const 48) (i32.const 1)))
           (i32.const 0)"#,
    );
    let wasm = guest(&format!(r#"(data (i32.const 16) "verify_signature") {callback}"#));
    let status = |process: Process| {
        request(&mut worker(&process, &wasm)).1.headers().unwrap().text("_").map(ToOwned::to_owned)
    };
    assert_eq!(status(Process::new()), Some("2".to_owned()), "offered, but no key is a bad argument");
    assert_eq!(
        status(Process::builder().without_foreign_function("verify_signature").build()),
        Some("1".to_owned())
    );
}
