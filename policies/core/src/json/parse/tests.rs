//! The parser against serde_json's, which must take and refuse the same documents.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::*;
use crate::json::MAX_DEPTH;

/// Whether serde_json takes the document, and what it makes of it.
fn second_opinion(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text).ok()
}

/// The same in serde_json's values. Numbers are compared as serde_json reads their text.
fn converted(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(own) => (*own).into(),
        Value::Number(text) => serde_json::from_str(text).unwrap(),
        Value::String(text) => text.as_ref().into(),
        Value::Array(elements) => elements.iter().map(converted).collect(),
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.to_string(), converted(value))).collect()
        }
    }
}

/// A number that serde_json refuses only because no float is as large.
fn out_of_range(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok() && second_opinion(text).is_none()
}

fn compare(text: &str) {
    match (document(text, MAX_DEPTH), second_opinion(text)) {
        (Ok(own), Some(theirs)) => assert_eq!(converted(&own), theirs, "{text}"),
        (Err(JsonError::DuplicateMember | JsonError::TooDeep | JsonError::TooManyMembers), _) => {}
        (Ok(_), None) => assert!(out_of_range(text), "only this parser takes: {text}"),
        (Err(error), Some(_)) => panic!("only this parser refuses ({error}): {text}"),
        (Err(_), None) => {}
    }
}

const DOCUMENTS: [&str; 12] = [
    r#"{"iss":"https://issuer","aud":["a","b"],"exp":1767225600.5,"nested":{"deep":[{"x":null}]}}"#,
    r#" { "a" : [ 1 , -0 , 2.50 , 1e3 , -1E-3 , 0.0e+0 , true , false , null ] } "#,
    r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\uFFFF end of the string""#,
    "\"é😀 bytes beyond ASCII, longer than a word of eight\"",
    "[]",
    "{}",
    "[[],{},\"\",0]",
    "-12.5E+10",
    "\t\r\n 1 \t\r\n",
    "true",
    r#"{"":{"":[]}}"#,
    r#"["0123456","01234567","012345678","\u0000","0123456\n","01234567\n"]"#,
];

#[test]
fn every_document_cut_or_with_one_byte_changed_is_read_as_serde_json_reads_it() {
    // What the grammar is made of, and neighbours of its limits.
    let changes: Vec<&str> = [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "/", "u", "d", "D", "e", "E", "+", "-", ".", "0", "1", "9",
        "t", "n", " ", "\t", "\n", "\u{c}", "\u{1f}", "\u{7f}", "\u{80}", "\u{feff}", "\u{0}", "a", "8", "c",
        "😀",
    ]
    .into();
    for text in DOCUMENTS {
        compare(text);
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for at in places {
            let (head, tail) = text.split_at(at);
            let mut shorter = tail.chars();
            shorter.next();
            let shorter = shorter.as_str();
            compare(head);
            compare(tail);
            compare(&format!("{head}{shorter}"));
            for change in &changes {
                compare(&format!("{head}{change}{tail}"));
                compare(&format!("{head}{change}{shorter}"));
            }
        }
    }
}

#[test]
fn escapes_of_every_code_unit_are_read_as_serde_json_reads_them() {
    for unit in 0..=0xffff_u32 {
        compare(&format!("\"\\u{unit:04x}\""));
        if unit % 0x100 == 0 || (0xdb00..0xdd00).contains(&unit) {
            compare(&format!("\"\\ud800\\u{unit:04X}\""));
            compare(&format!("\"\\u{unit:04X}\\udfff\""));
        }
    }
}

#[test]
fn a_string_ends_at_the_first_special_byte_wherever_it_stands() {
    for length in 0..40 {
        for special in ['"', '\\', '\u{0}', '\u{1f}', '\n'] {
            for at in 0..length {
                // Bytes beside the limits of what is special, and ones with the highest bit.
                let around: String = " !#[]\u{7f}\u{80}ÿ".chars().cycle().take(length).collect();
                let head: String = around.chars().take(at).collect();
                let text = format!("{head}{special}{around}");
                assert_eq!(plain(text.as_bytes()), head.len(), "{text:?}");
            }
        }
    }
}

#[test]
fn an_error_names_the_line_and_column() {
    for (text, line, column) in [("", 1, 1), ("{\"a\":\n  x}", 2, 3), ("[1 2]", 1, 4), ("1\n\n!", 3, 1)] {
        assert_eq!(document(text, MAX_DEPTH), Err(JsonError::Syntax { line, column }), "{text}");
    }
}
