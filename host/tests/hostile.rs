//! Guests that are wrong or mean it badly: the host answers, stops them, and lives.

mod common;

use common::{bytes, guest, guest_without_malloc, module, on_request_headers, request, worker};
use portcullis_host::{Engine, HostError, Limits, LocalReply, Module, Outcome, Plugin, Process, Worker};
use std::time::Duration;

fn compile(text: &str) -> Result<Module, HostError> {
    Module::compile(&Engine::new().unwrap(), &bytes(text))
}

const ABI: &str = r#"(memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 8))"#;

#[test]
fn a_module_that_imports_something_unknown_is_refused_with_the_imports_name() {
    let error = compile(&format!(r#"(module (import "env" "proxy_fly" (func)) {ABI})"#)).unwrap_err();
    assert!(
        matches!(&error, HostError::UnknownImport { module, name } if module == "env" && name == "proxy_fly"),
        "{error}"
    );
    assert!(error.to_string().contains("`env.proxy_fly`"));
}

#[test]
fn a_module_that_imports_a_host_function_with_another_signature_is_refused() {
    let error =
        compile(&format!(r#"(module (import "env" "proxy_log" (func (param i64))) {ABI})"#)).unwrap_err();
    assert!(matches!(error, HostError::WrongSignature(_)), "{error}");
}

#[test]
fn a_module_that_exports_a_callback_with_another_signature_is_refused() {
    let module =
        compile(&format!(r#"(module {ABI} (func (export "proxy_on_request_headers") (param i64)))"#))
            .unwrap();
    let error = Worker::new(&Process::new()).add(&module, Plugin::new("guest")).unwrap_err();
    assert!(matches!(&error, HostError::WrongSignature(_)), "{error}");
    assert!(error.to_string().contains("proxy_on_request_headers"), "{error}");
}

#[test]
fn a_module_without_abi_mark_memory_or_allocator_is_refused() {
    let error = compile(r#"(module (memory (export "memory") 1))"#).unwrap_err();
    assert!(matches!(error, HostError::UnknownAbi), "{error}");
    let error = compile(r#"(module (func (export "proxy_abi_version_0_2_1")))"#).unwrap_err();
    assert!(matches!(error, HostError::MissingExport("memory")), "{error}");
    let text = r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1")))"#;
    let error = compile(text).unwrap_err();
    assert!(matches!(error, HostError::MissingExport("proxy_on_memory_allocate")), "{error}");
}

#[test]
fn bytes_that_are_no_module_are_refused() {
    let error = Module::compile(&Engine::new().unwrap(), b"\0asm\x01\0\0\0\xff").unwrap_err();
    assert!(matches!(error, HostError::InvalidModule(_)), "{error}");
}

/// Every host function with each of its arguments in turn outside of memory: each is answered
/// with a status, none traps the guest or the host.
#[test]
fn addresses_outside_of_memory_are_answered_with_invalid_memory_access() {
    let far = "(i32.const -8)";
    let calls = [
        format!("(call $log (i32.const 2) {far} (i32.const 4))"),
        format!("(call $log (i32.const 2) (i32.const 8) {far})"),
        format!("(call $log_level {far})"),
        format!("(call $time {far})"),
        format!("(call $buffer (i32.const 6) (i32.const 0) (i32.const 1) {far} (i32.const 8))"),
        format!("(call $buffer (i32.const 6) (i32.const 0) (i32.const 1) (i32.const 8) {far})"),
        format!("(call $buffer_status (i32.const 6) {far} (i32.const 8))"),
        format!("(call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) {far} (i32.const 9))"),
        format!("(call $pairs (i32.const 0) {far} (i32.const 8))"),
        format!("(call $pairs (i32.const 0) (i32.const 8) {far})"),
        format!("(call $set_pairs (i32.const 0) {far} (i32.const 9))"),
        format!("(call $value (i32.const 0) {far} (i32.const 9) (i32.const 8) (i32.const 8))"),
        format!("(call $value (i32.const 0) (i32.const 8) (i32.const 1) {far} (i32.const 8))"),
        format!("(call $map_size (i32.const 0) {far})"),
        format!("(call $add (i32.const 0) {far} (i32.const 9) (i32.const 8) (i32.const 1))"),
        format!("(call $replace (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 8) {far})"),
        format!("(call $remove (i32.const 0) {far} (i32.const 9))"),
        format!("(call $property {far} (i32.const 9) (i32.const 8) (i32.const 8))"),
        format!("(call $set_property (i32.const 8) (i32.const 1) {far} (i32.const 9))"),
        format!("(call $data (i32.const 8) (i32.const 1) (i32.const 8) (i32.const 8) {far})"),
        format!("(call $set_data {far} (i32.const 9) (i32.const 8) (i32.const 1) (i32.const 0))"),
        format!("(call $register (i32.const 8) (i32.const 1) {far})"),
        format!("(call $resolve (i32.const 8) (i32.const 1) {far} (i32.const 9) (i32.const 8))"),
        format!("(call $enqueue (i32.const 1) {far} (i32.const 9))"),
        format!("(call $dequeue (i32.const 1) {far} (i32.const 8))"),
        format!(
            "(call $reply (i32.const 200) {far} (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))"
        ),
        format!(
            "(call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) {far} (i32.const 9) (i32.const -1))"
        ),
        format!(
            "(call $http {far} (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8))"
        ),
        format!("(call $status (i32.const 8) (i32.const 8) {far})"),
        format!(
            "(call $foreign {far} (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 8))"
        ),
        format!("(call $define (i32.const 0) (i32.const 8) (i32.const 1) {far})"),
    ];
    for call in calls {
        let callback = on_request_headers(&format!(
            "(if (i32.ne {call} (i32.const 6)) (then unreachable)) (i32.const 0)"
        ));
        let (_, outcome) = request(&mut worker(&Process::new(), &guest(&callback)));
        assert!(outcome.is_forward(), "{call}: {outcome:?}");
    }
}

#[test]
fn wasi_addresses_outside_of_memory_are_efault() {
    let calls = [
        "(call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 8))",
        "(call $fd_write (i32.const 1) (i32.const 8) (i32.const -1) (i32.const 8))",
        "(call $random (i32.const 8) (i32.const -1))",
        "(call $clock (i32.const 0) (i64.const 0) (i32.const -4))",
        "(call $environ_sizes (i32.const 8) (i32.const -1))",
        "(call $environ (i32.const -1) (i32.const 8))",
    ];
    for call in calls {
        let process = Process::builder().environment("A", "b").build();
        let callback = on_request_headers(&format!(
            "(if (i32.ne {call} (i32.const 21)) (then unreachable)) (i32.const 0)"
        ));
        let (_, outcome) = request(&mut worker(&process, &guest(&callback)));
        assert!(outcome.is_forward(), "{call}: {outcome:?}");
    }
}

#[test]
fn numbers_outside_of_their_range_are_bad_arguments() {
    let calls = [
        "(call $log (i32.const 6) (i32.const 0) (i32.const 0))",
        "(call $buffer (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8))",
        "(call $buffer (i32.const 6) (i32.const -1) (i32.const -1) (i32.const 8) (i32.const 8))",
        "(call $pairs (i32.const 8) (i32.const 8) (i32.const 8))",
        "(call $continue (i32.const 2))",
        "(call $close (i32.const 4))",
        "(call $effective (i32.const 99))",
        "(call $define (i32.const 3) (i32.const 8) (i32.const 1) (i32.const 8))",
        "(call $increment (i32.const 3) (i64.const 1))",
        "(call $reply (i32.const 99) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))",
        "(call $set_pairs (i32.const 0) (i32.const 0) (i32.const 3))",
        "(call $add (i32.const 6) (i32.const 8) (i32.const 1) (i32.const 8) (i32.const 1))",
    ];
    for call in calls {
        let callback = on_request_headers(&format!(
            "(if (i32.ne {call} (i32.const 2)) (then unreachable)) (i32.const 0)"
        ));
        let (_, outcome) = request(&mut worker(&Process::new(), &guest(&callback)));
        assert!(outcome.is_forward(), "{call}: {outcome:?}");
    }
}

#[test]
fn a_callback_that_does_not_return_is_stopped_and_the_request_fails_closed() {
    let limits = Limits { callback: Duration::from_millis(50), ..Limits::default() };
    let process = Process::builder().limits(limits).build();
    let mut worker = worker(&process, &guest(&on_request_headers("(loop (br 0)) (i32.const 0)")));
    let (_, outcome) = request(&mut worker);
    let Outcome::Trapped(trap, reply) = outcome else { panic!("{outcome:?}") };
    assert_eq!((trap.callback, reply.status()), ("proxy_on_request_headers", 503));
    assert!(trap.reason.contains("longer"), "{trap}");
}

#[test]
fn a_start_that_does_not_return_is_stopped() {
    let limits = Limits { callback: Duration::from_millis(50), ..Limits::default() };
    let process = Process::builder().limits(limits).build();
    let module = module(&guest("(func $spin (loop (br 0))) (start $spin)"));
    let error = Worker::new(&process).add(&module, Plugin::new("guest")).unwrap_err();
    assert!(matches!(error, HostError::Trapped { .. }), "{error}");
}

#[test]
fn a_stopped_vm_answers_every_later_request_with_503_until_it_is_restarted() {
    let definitions = format!(
        "(global $once (mut i32) (i32.const 0)) {}",
        on_request_headers(
            "(if (i32.eqz (global.get $once)) (then (global.set $once (i32.const 1)) unreachable)) (i32.const 0)"
        )
    );
    let mut worker = worker(&Process::new(), &guest(&definitions));
    for _ in 0..2 {
        let (stream, outcome) = request(&mut worker);
        assert_eq!(outcome.reply().map(LocalReply::status), Some(503));
        assert!(outcome.trap().is_some());
        worker.close(stream);
    }
    assert!(worker.reconfigure(0, "new").is_err());
    assert!(worker.trap(0).is_some());
    worker.restart(0).unwrap();
    assert_eq!(worker.trap(0), None);
}

#[test]
fn streams_that_a_stopped_vm_held_fail_closed_at_once() {
    let definitions = format!(
        r#"{} (func (export "proxy_on_tick") (param i32) unreachable)
           (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const 1))) (i32.const 1))"#,
        on_request_headers("(i32.const 1)")
    );
    let clock = portcullis_host::VirtualClock::default();
    let process = Process::builder().clock(clock.clone()).build();
    let mut worker = worker(&process, &guest(&definitions));
    let (stream, outcome) = request(&mut worker);
    assert_eq!(outcome, Outcome::Pause);
    clock.advance(Duration::from_millis(1));
    let events = worker.poll();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.stream, stream);
    assert_eq!(event.outcome.reply().map(LocalReply::status), Some(503));
    assert_eq!(worker.next_tick(), None, "a stopped VM does not tick");
}

#[test]
fn memory_does_not_grow_past_its_limit() {
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    let process = Process::builder().limits(limits).build();
    let callback = on_request_headers(
        r#"(if (i32.ne (memory.grow (i32.const 4096)) (i32.const -1)) (then unreachable))
           (if (i32.eq (memory.grow (i32.const 4)) (i32.const -1)) (then unreachable))
           (i32.const 0)"#,
    );
    let (_, outcome) = request(&mut worker(&process, &guest(&callback)));
    assert!(outcome.is_forward(), "{outcome:?}");
}

#[test]
fn headers_do_not_grow_without_bounds() {
    let callback = on_request_headers(
        r#"(loop $more
             (br_if $more (i32.eqz (call $add (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 100000)))))
           (i32.const 0)"#,
    );
    let (_, outcome) = request(&mut worker(&Process::new(), &guest(&callback)));
    assert!(outcome.headers().unwrap().byte_size() <= 16 << 20);
}

#[test]
fn an_allocator_that_lies_calls_back_or_traps_harms_only_its_guest() {
    let reads = on_request_headers(
        r#"(drop (call $pairs (i32.const 0) (i32.const 8) (i32.const 12)))
           (i32.const 0)"#,
    );
    let lies = [
        ("(i32.const 0)", true),
        ("(i32.const -1)", true),
        ("unreachable", false),
        // Each allocation asks for another one: the stack ends it.
        ("(drop (call $pairs (i32.const 0) (i32.const 8) (i32.const 12))) (i32.const 64)", false),
    ];
    for (body, lives) in lies {
        let definitions = format!(r#"(func (export "malloc") (param i32) (result i32) {body}) {reads}"#);
        let mut worker = worker(&Process::new(), &guest_without_malloc(&definitions));
        let (_, outcome) = request(&mut worker);
        assert_eq!(outcome.is_forward(), lives, "{body}: {outcome:?}");
        assert_eq!(worker.trap(0).is_none(), lives, "{body}");
    }
}

#[test]
fn a_guest_that_exits_is_stopped() {
    let mut worker =
        worker(&Process::new(), &guest(&on_request_headers("(call $exit (i32.const 3)) (i32.const 0)")));
    let (_, outcome) = request(&mut worker);
    assert!(outcome.trap().unwrap().reason.contains("proc_exit(3)"), "{outcome:?}");
}

#[test]
fn a_refused_configuration_is_an_error_with_what_the_guest_logged() {
    let refuses = r#"
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $log (i32.const 4) (i32.const 16) (i32.const 6)))
          (i32.const 0))
        (data (i32.const 16) "reason")"#;
    let error = Worker::new(&Process::new()).add(&module(&guest(refuses)), Plugin::new("guest")).unwrap_err();
    assert!(matches!(error, HostError::Refused { .. }));
    assert_eq!(error.log().iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["reason"]);
    assert!(error.to_string().contains("[error] guest: reason"), "{error}");
}
