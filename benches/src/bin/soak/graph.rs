//! Curves over time, drawn as SVG.

use std::fmt::Write as _;
use std::time::Duration;

/// Size of the whole and of one curve's field, pixels.
const WIDTH: f64 = 900.0;
const FIELD_HEIGHT: f64 = 150.0;
const TITLE_HEIGHT: f64 = 40.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 20.0;
const MARGIN: f64 = 30.0;

/// A value over time.
pub struct Curve {
    /// What it is, with its unit.
    pub name: &'static str,
    /// The metric that tells it.
    pub metric: &'static str,
    unit: f64,
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// Without a point. Values are told as multiples of `unit`.
    pub fn new(name: &'static str, metric: &'static str, unit: f64) -> Self {
        Self { name, metric, unit, points: Vec::new() }
    }

    /// A value after a time.
    pub fn add(&mut self, after: Duration, value: f64) {
        self.points.push((after.as_secs_f64(), value / self.unit));
    }

    /// How many values there are.
    pub fn length(&self) -> usize {
        self.points.len()
    }

    /// The means of the third and of the last quarter.
    pub fn last_quarters(&self) -> (f64, f64) {
        let quarter = self.points.len() / 4;
        let mean = |points: &[(f64, f64)]| {
            points.iter().map(|point| point.1).sum::<f64>() / points.len().max(1) as f64
        };
        (mean(&self.points[2 * quarter..3 * quarter]), mean(&self.points[3 * quarter..]))
    }

    fn draw(&self, drawing: &mut String, top: f64) {
        let most = self.points.iter().map(|point| point.1).fold(1.0, f64::max);
        let last = self.points.last().map_or(1.0, |point| point.0);
        let (width, height) = (WIDTH - LEFT - RIGHT, FIELD_HEIGHT - MARGIN);
        let points = self.points.iter().map(|(at, value)| {
            format!("{:.1},{:.1}", LEFT + at / last * width, top + height * (1.0 - value / most))
        });
        let points: Vec<_> = points.collect();
        let bottom = top + height;
        let _ = write!(
            drawing,
            "<path d='M{LEFT},{top}V{bottom}H{}' fill='none' stroke='#888'/>\n\
             <polyline points='{}' fill='none' stroke='#1f6feb' stroke-width='1.5'/>\n\
             <text x='8' y='{}'>{}</text>\n<text x='{}' y='{}' text-anchor='end'>{most:.0}</text>\n\
             <text x='{}' y='{bottom}' text-anchor='end'>0</text>\n\
             <text x='{}' y='{}' text-anchor='end'>{:.0} min</text>\n",
            WIDTH - RIGHT,
            points.join(" "),
            top + height / 2.0,
            self.name,
            LEFT - 6.0,
            top + 10.0,
            LEFT - 6.0,
            WIDTH - RIGHT,
            bottom + 16.0,
            last / 60.0,
        );
    }
}

/// All curves, one below the other.
pub fn drawing(title: &str, curves: &[Curve]) -> String {
    let height = TITLE_HEIGHT + FIELD_HEIGHT * curves.len() as f64;
    let mut drawing = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='#fff'/>\n<text x='8' y='20'>{title}</text>\n"
    );
    for (index, curve) in curves.iter().enumerate() {
        curve.draw(&mut drawing, TITLE_HEIGHT + FIELD_HEIGHT * index as f64);
    }
    drawing.push_str("</svg>\n");
    drawing
}
