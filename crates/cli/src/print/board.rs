//! The board of a watch: a line a node that is kept up to date on a terminal; elsewhere a line for every change.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use console::style;
use contract::api::{self, LogStream, State};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use tokio::time::{Interval, MissedTickBehavior};

use super::keys::Silent;
use super::{escape, metadata, units};
use crate::json;

/// How often elapsed times are brought up to date.
const REFRESH: Duration = Duration::from_millis(200);
/// How many keys of the metadata are shown beside a node.
const SHOWN_KEYS: usize = 4;

/// What is shown of a watch.
pub struct Board {
    silent: bool,
    live: Option<Live>,
    rows: Vec<Row>,
}

/// What a board has on a terminal.
struct Live {
    lines: MultiProgress,
    refresh: Interval,
    keys: Option<Silent>,
}

struct Row {
    name: String,
    state: State,
    skipped: bool,
    start: Option<prost_types::Timestamp>,
    end: Option<prost_types::Timestamp>,
    metric: String,
    /// What is being done before it runs.
    activity: String,
    /// Whether the last record of a stream left its line open.
    open: bool,
    bar: Option<ProgressBar>,
}

impl Board {
    /// A board; a silent one shows nothing.
    pub fn new(silent: bool) -> Self {
        let seen = !silent && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let live = seen.then(|| {
            let mut refresh = tokio::time::interval(REFRESH);
            refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Live {
                lines: MultiProgress::new(),
                refresh,
                keys: Silent::take(),
            }
        });
        Self {
            silent,
            live,
            rows: Vec::new(),
        }
    }

    /// Whether it is kept up to date on a terminal.
    fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Whether keys can be pressed for it.
    pub fn takes_keys(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.keys.is_some())
    }

    /// What is watched.
    pub fn headline(&mut self, text: &str) {
        self.say(&match self.live {
            Some(_) => style(text).bold().to_string(),
            None => text.to_owned(),
        });
    }

    /// Something beside what is watched. Said on standard error, and above the rows of a terminal.
    pub fn note(&self, text: &str) {
        match &self.live {
            Some(live) => drop(live.lines.println(text)),
            None => super::tell(&format!("{text}\n")),
        }
    }

    /// A node as its pipeline has it; shown from the beginning, long before it runs.
    pub fn node(&mut self, node: &api::Node) {
        let at = self.row(&node.name);
        if node.skipped && !self.rows[at].skipped {
            self.rows[at].skipped = true;
            let why = if node.message.is_empty() {
                String::new()
            } else {
                format!(": {}", node.message)
            };
            self.change(
                at,
                &format!("{} skipped{}", node.name, escape::for_line(&why)),
            );
        } else if self.rows[at].state == State::Unspecified {
            self.rows[at].state = State::Created;
            self.draw(at);
        }
    }

    /// An execution as it is now.
    pub fn execution(&mut self, row: &str, execution: &api::Execution) {
        let at = self.row(row);
        self.rows[at].start = execution.start_time;
        self.rows[at].end = execution.end_time;
        if self.rows[at].state == execution.state() {
            return;
        }
        self.rows[at].state = execution.state();
        let number = json::number(&execution.name);
        let text = match execution.state() {
            State::Started => {
                let worker = execution
                    .attempts
                    .last()
                    .map(|attempt| attempt.worker.as_str())
                    .unwrap_or_default();
                format!("{row} started on {worker} (execution #{number})")
            }
            State::Complete => format!("{row} complete in {}", self.rows[at].elapsed()),
            State::Error | State::Stopped => {
                let why = if execution.message.is_empty() {
                    String::new()
                } else {
                    format!(": {}", execution.message)
                };
                // One that never started took no time.
                let after = match self.rows[at].elapsed().as_str() {
                    "" => String::new(),
                    elapsed => format!(" after {elapsed}"),
                };
                format!(
                    "{row} {}{after}{}",
                    json::state(execution.state()),
                    escape::for_line(&why)
                )
            }
            State::Stopping => format!("{row} is being stopped"),
            State::Queued | State::Created | State::Unspecified => return self.draw(at),
        };
        self.change(at, &text);
    }

    /// What is being done for a node before it runs. False where there is no row to show it on.
    pub fn activity(&mut self, row: &str, text: &str) -> bool {
        let at = self.row(row);
        self.rows[at].activity = escape::for_line(text);
        self.draw(at);
        self.is_live()
    }

    /// The newest metadata of a node.
    fn metric(&mut self, row: &str, values: &Map<String, Value>) {
        let at = self.row(row);
        let plain = values
            .iter()
            .filter(|(_, value)| !value.is_object() && !value.is_array());
        let pairs: Vec<String> = plain
            .take(SHOWN_KEYS)
            .map(|(key, value)| format!("{} {}", escape::for_line(key), metadata::rounded(value)))
            .collect();
        self.rows[at].metric = pairs.join("  ");
        self.draw(at);
    }

    /// A record of a node's log. Metadata is shown on one line, and the newest beside its node.
    pub fn record(&mut self, row: &str, record: &api::LogRecord) {
        if record.stream() == LogStream::Metric {
            return;
        }
        let at = self.row(row);
        let continued = std::mem::replace(&mut self.rows[at].open, record.partial);
        let whole = !continued && !record.partial && record.stream() == LogStream::Stdout;
        if whole && let Ok(values) = serde_json::from_slice::<Map<String, Value>>(&record.data) {
            self.metric(row, &values);
            return self.log(row, record.stream(), "|", &metadata::line(&values));
        }
        let text = String::from_utf8_lossy(&record.data);
        // A progress bar redraws its line; only what is left of it in the end is shown.
        for line in text.lines() {
            let shown = line
                .rsplit('\r')
                .find(|part| !part.is_empty())
                .unwrap_or_default();
            let shown = escape::for_terminal(shown.as_bytes());
            self.log(
                row,
                record.stream(),
                if continued { "…" } else { "|" },
                &shown,
            );
        }
    }

    fn log(&self, row: &str, stream: LogStream, mark: &str, text: &str) {
        let label = format!("{} {mark}", escape::for_line(row));
        let line = match (self.is_live() && console::colors_enabled(), stream) {
            (false, _) => format!("{label} {}", console::strip_ansi_codes(text)),
            (true, LogStream::Status) => style(format!("{label} {text}")).dim().to_string(),
            // Colours of a program end with its line.
            (true, LogStream::Stderr) => format!("{} {text}\x1b[0m", style(label).yellow()),
            (true, _) => format!("{} {text}\x1b[0m", style(label).cyan()),
        };
        self.say(&line);
    }

    /// Waits until elapsed times should be brought up to date, and does so. Never returns when nothing is live.
    pub async fn tick(&mut self) {
        match &mut self.live {
            Some(live) => live.refresh.tick().await,
            None => return std::future::pending().await,
        };
        for at in 0..self.rows.len() {
            self.draw(at);
        }
    }

    fn row(&mut self, name: &str) -> usize {
        if let Some(at) = self.rows.iter().position(|row| row.name == name) {
            return at;
        }
        let bar = self.live.as_ref().map(|live| {
            let bar = live.lines.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        self.rows.push(Row {
            name: name.to_owned(),
            state: State::Unspecified,
            skipped: false,
            start: None,
            end: None,
            metric: String::new(),
            activity: String::new(),
            open: false,
            bar,
        });
        self.rows.len() - 1
    }

    /// A change worth a line where there is no board.
    fn change(&mut self, at: usize, text: &str) {
        match self.live {
            Some(_) => self.draw(at),
            None => self.say(text),
        }
    }

    fn draw(&self, at: usize) {
        let width = self
            .rows
            .iter()
            .map(|row| console::measure_text_width(&row.name))
            .max()
            .unwrap_or(0);
        let row = &self.rows[at];
        if let Some(bar) = &row.bar {
            bar.set_message(row.line(width));
        }
    }

    fn say(&self, text: &str) {
        if self.silent {
            return;
        }
        match &self.live {
            Some(live) => drop(live.lines.println(text)),
            // Who closes standard output has read enough; the watch goes on for its exit code.
            None => drop(writeln!(std::io::stdout(), "{text}")),
        }
    }
}

impl Drop for Board {
    /// Takes the rows down: what comes after them says it better.
    fn drop(&mut self) {
        for bar in self.rows.iter().filter_map(|row| row.bar.as_ref()) {
            bar.finish_and_clear();
        }
        if let Some(live) = &self.live {
            drop(live.lines.clear());
        }
    }
}

impl Row {
    fn elapsed(&self) -> String {
        let seconds =
            |time: &prost_types::Timestamp| time.seconds as f64 + f64::from(time.nanos) / 1e9;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        let Some(start) = &self.start else {
            return String::new();
        };
        let end = self.end.as_ref().map_or(now, seconds);
        Duration::try_from_secs_f64((end - seconds(start)).max(0.0))
            .map(units::duration)
            .unwrap_or_default()
    }

    fn line(&self, width: usize) -> String {
        let preparing = self.start.is_none();
        let is_active = preparing && !self.activity.is_empty();
        let (symbol, word) = match (self.skipped, self.state) {
            (true, _) => (style("-").dim(), "skipped"),
            (_, State::Unspecified | State::Created) => (style("·").dim(), "waiting"),
            (_, State::Queued) if is_active => (style("●").dim(), "preparing"),
            (_, State::Queued) => (style("○").dim(), "queued"),
            (_, State::Started) if preparing => (style("●").dim(), "preparing"),
            (_, State::Started) => (style("●").cyan(), "running"),
            (_, State::Stopping) => (style("●").yellow(), "stopping"),
            (_, State::Stopped) => (style("■").yellow(), "stopped"),
            (_, State::Error) => (style("✗").red(), "error"),
            (_, State::Complete) => (style("✓").green(), "complete"),
        };
        let padding = " ".repeat(width.saturating_sub(console::measure_text_width(&self.name)));
        format!(
            "{symbol} {}{padding}  {word:<9}  {:>10}  {}",
            escape::for_line(&self.name),
            self.elapsed(),
            if is_active {
                &self.activity
            } else {
                &self.metric
            }
        )
    }
}
