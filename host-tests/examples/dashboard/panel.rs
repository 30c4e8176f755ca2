//! Panels as an SVG, in the places that the dashboard gives them.

use std::fmt::Write as _;

/// Of one of the dashboard's 24 columns, and of one unit of height.
const COLUMN: f64 = 50.0;
const ROW: f64 = 26.0;
const HEADER: f64 = 44.0;
const COLOURS: [&str; 8] =
    ["#1a7f37", "#cf222e", "#0969da", "#bf8700", "#8250df", "#bc4c00", "#1b7c83", "#57606a"];

/// In the dashboard's grid.
pub struct Place {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

pub struct Line {
    pub name: String,
    /// Values at times in seconds.
    pub points: Vec<(f64, f64)>,
}

pub struct Panel {
    pub title: String,
    pub unit: String,
    pub place: Place,
    pub lines: Vec<Line>,
}

/// All panels, from when to when in seconds.
pub fn picture(panels: &[Panel], (start, end): (f64, f64)) -> String {
    let seconds = end - start;
    let bottom = panels.iter().map(|panel| panel.place.y + panel.place.height).fold(0.0, f64::max);
    let (width, height) = (24.0 * COLUMN, HEADER + bottom * ROW + 10.0);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="#1f2328">
<title>The panels of the dashboard over {seconds:.0} seconds</title>
<rect width="{width}" height="{height}" fill="#f6f8fa"/>
<text x="12" y="28" font-size="18" font-weight="bold">Portcullis</text>
"##
    );
    panels.iter().for_each(|panel| panel.draw(&mut svg, start, seconds));
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String, start: f64, seconds: f64) {
        let Place { x, y, width, height } = &self.place;
        let (left, top) = (x * COLUMN + 6.0, HEADER + y * ROW);
        let (width, height) = (width * COLUMN - 12.0, height * ROW - 10.0);
        // The plot leaves room for the title, the scale, the time and the legend.
        let (from, to) = (left + 76.0, left + width - 24.0);
        let (ceiling, floor) = (top + 34.0, top + height - 46.0);
        let values = self.lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
        let step = step(values.fold(0.0, f64::max));
        let most = step * 4.0;
        let at = |(time, value): &(f64, f64)| {
            let (x, y) = ((time - start) / seconds, value / most);
            format!("{:.1},{:.1}", from + x * (to - from), floor - y * (floor - ceiling))
        };
        let _ = writeln!(
            svg,
            r##"<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="white" stroke="#d0d7de" rx="4"/>
<text x="{x}" y="{y}" font-weight="bold">{}</text>"##,
            self.title,
            x = left + 12.0,
            y = top + 20.0,
        );
        for line in 0..=4 {
            let value = step * f64::from(line);
            let height = floor - f64::from(line) / 4.0 * (floor - ceiling);
            let _ = writeln!(
                svg,
                r##"<line x1="{from}" x2="{to}" y1="{height:.1}" y2="{height:.1}" stroke="#eaeef2"/><text x="{:.1}" y="{:.1}" text-anchor="end" fill="#57606a">{value}{}</text>"##,
                from - 6.0,
                height + 4.0,
                unit(&self.unit),
            );
        }
        for minute in 0..=(seconds / 60.0) as u32 {
            let x = from + f64::from(minute) * 60.0 / seconds * (to - from);
            let _ = writeln!(
                svg,
                r##"<text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#57606a">{minute} min</text>"##,
                floor + 16.0
            );
        }
        let mut legend = left + 12.0;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            // Where there is no value there is no line: Prometheus was asked once a second.
            for part in line.points.chunk_by(|(before, _), (after, _)| after - before < 1.5) {
                let points: Vec<String> = part.iter().map(at).collect();
                let _ = writeln!(
                    svg,
                    r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.5"/>"#,
                    points.join(" "),
                );
            }
            let _ = writeln!(
                svg,
                r#"<text x="{legend:.0}" y="{:.1}" fill="{colour}">{}</text>"#,
                top + height - 10.0,
                line.name,
            );
            // As wide as the text is, about.
            legend += 6.6 * line.name.len() as f64 + 16.0;
        }
    }
}

/// A quarter of the scale's end, which is a round number and at least `most`.
fn step(most: f64) -> f64 {
    let quarter = (most / 4.0).max(0.25);
    let decade = 10_f64.powf(quarter.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|of| of * decade)
        .into_iter()
        .find(|step| *step >= quarter)
        .unwrap_or(quarter)
}

/// Behind a number, as Grafana has it.
fn unit(name: &str) -> &str {
    match name {
        "reqps" => " req/s",
        "ops" => " ops/s",
        "s" => " s",
        _ => "",
    }
}
