//! The comparison as a picture: what each contender adds, by algorithm, cold and warm.

use std::fmt::Write as _;

use serde_json::Value;

const LEFT: f64 = 210.0;
const WIDTH: f64 = 250.0;
const COLUMN: f64 = WIDTH + 60.0;
const ROW: f64 = 20.0;
const OURS: &str = "#0969da";
const OTHERS: &str = "#afb8c1";

/// Bars for the medians of `comparisons`, pairs of a cold and a warm one as
/// [`crate::report::Comparison::to_json`] gives them, with lines from quartile to quartile. Those whose
/// names begin with `own` have another colour.
#[must_use]
pub fn picture(comparisons: &[Value], own: &str) -> String {
    let height = |pair: &[Value]| 44.0 + ROW * pair.first().map_or(0, |one| series(one).count()) as f64;
    let bottom: f64 = comparisons.chunks(2).map(height).sum();
    let (width, all) = (LEFT + 2.0 * COLUMN, 40.0 + bottom);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {all}" font-family="sans-serif" font-size="13">
<title>CPU time that a JWT filter adds to a request in Envoy</title>
<rect width="{width}" height="{all}" fill="white"/>
<text x="16" y="26" font-weight="bold">CPU µs that a filter adds to a request in Envoy (medians; lines from quartile to quartile)</text>
"#
    );
    let mut top = 40.0;
    for pair in comparisons.chunks(2) {
        let most = pair.iter().flat_map(series).map(|series| number(series, "high")).fold(1.0, f64::max);
        for (place, comparison) in pair.iter().enumerate() {
            let left = LEFT + COLUMN * place as f64;
            let title = comparison["title"].as_str().unwrap_or_default();
            let _ = writeln!(svg, r#"<text x="{left}" y="{}" font-weight="bold">{title}</text>"#, top + 24.0);
            for (row, series) in series(comparison).enumerate() {
                let name = series["name"].as_str().unwrap_or_default();
                let middle = top + 44.0 + ROW * row as f64;
                if place == 0 {
                    let _ = writeln!(
                        svg,
                        r#"<text x="{}" y="{:.1}" text-anchor="end">{name}</text>"#,
                        LEFT - 10.0,
                        middle + 4.0
                    );
                }
                let x = |value: f64| WIDTH * value.max(0.0) / most;
                let (low, median, high) =
                    (number(series, "low"), number(series, "median"), number(series, "high"));
                let _ = writeln!(
                    svg,
                    r##"<rect x="{left}" y="{:.1}" width="{:.1}" height="14" fill="{}"/><line x1="{:.1}" x2="{:.1}" y1="{middle:.1}" y2="{middle:.1}" stroke="#24292f"/><text x="{:.1}" y="{:.1}">{median:.1}</text>"##,
                    middle - 7.0,
                    x(median),
                    if name.starts_with(own) { OURS } else { OTHERS },
                    left + x(low),
                    left + x(high),
                    left + x(high) + 6.0,
                    middle + 4.0,
                );
            }
        }
        top += height(pair);
    }
    svg.push_str("</svg>\n");
    svg
}

/// All but the baseline.
fn series(comparison: &Value) -> impl Iterator<Item = &Value> {
    comparison["series"].as_array().into_iter().flatten().skip(1)
}

fn number(series: &Value, name: &str) -> f64 {
    series["added_us"][name].as_f64().unwrap_or_default()
}
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_contender_but_the_baseline_has_a_bar_in_each_column() {
        let spread = json!({"low": 1.0, "median": 2.0, "high": 4.0});
        let series = |name: &str| json!({"name": name, "added_us": spread});
        let comparison = |title: &str| json!({"title": title, "series": [series("none"), series("native"), series("ours")]});

        let svg = picture(&[comparison("cold"), comparison("warm")], "ours");

        assert_eq!((svg.matches(OURS).count(), svg.matches(OTHERS).count()), (2, 2));
        assert!(
            ["cold", "warm", "native", "ours"].iter().all(|text| svg.contains(&format!(">{text}</text>")))
        );
        assert!(!svg.contains("none</text>") && !svg.contains("NaN"));
    }
}
