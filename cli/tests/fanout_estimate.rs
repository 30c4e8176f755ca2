//! `portcullis fanout estimate` and `portcullis check llm-fanout`.

mod common;

use std::fs;

use common::{run, text};

const REQUEST: &str = r#"{"model":"m","max_tokens":200,"messages":[{"role":"system","content":"Be brief."}],
    "x_fanout":{"questions":["One?","Two?","Three?","Four?","Five?"]}}"#;

fn estimate(request: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("request.json");
    fs::write(&path, request).unwrap();
    let path = path.display().to_string();
    let output = run(&[&["fanout", "estimate", &path], more].concat());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn an_estimate_says_what_splitting_saves_and_costs() {
    let (code, out, _) = estimate(REQUEST, &["--preset", "gpt-4o"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("5 questions, 5 at a time"), "{out}");
    assert!(out.contains("11.37 s") && out.contains("2.65 s"), "{out}");
    assert!(out.contains("split: splitting is 4.3 times as fast"), "{out}");
}

#[test]
fn few_short_answers_are_not_worth_it() {
    let short = REQUEST.replace("200", "5");
    let (code, out, _) = estimate(&short, &["--preset", "claude-3.5-sonnet", "--format", "json"]);
    assert_eq!(code, Some(1));
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["split_is_worth_it"], false);
    assert_eq!(document["questions"], 5);
}

#[test]
fn a_request_that_would_be_refused_is_refused_with_its_place() {
    for (request, more, expected) in [
        ("{}", &[][..], "no `x_fanout`"),
        (r#"{"user":"me","x_fanout":{"questions":["a"]}}"#, &[], "FANOUT_INVALID: `user`"),
        (r#"{"x_fanout":{"questions":[]}}"#, &[], "`x_fanout.questions`"),
        (REQUEST, &["--preset", "gpt-1"], "there is: gpt-4o, claude-3.5-sonnet"),
    ] {
        let (code, _, error) = estimate(request, more);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_configuration_is_checked_by_the_module_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("llm-fanout.json");
    let document = r#"{"provider":{"cluster":"model","authority":"model.example"},
        "isolation":{"key":{"value":"a2V5IG9mIGF0IGxlYXN0IHRoaXJ0eS10d28gYnl0ZXM="}}}"#;
    fs::write(&path, document).unwrap();
    let shown = path.display().to_string();
    let output = run(&["check", "llm-fanout", &shown]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::write(&path, document.replace("\"cluster\"", "\"clutser\"")).unwrap();
    let output = run(&["check", "llm-fanout", &shown]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("provider.clutser"), "{}", text(&output.stderr));
}
