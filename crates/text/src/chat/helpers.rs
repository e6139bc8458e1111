use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use minijinja::{Environment, Error, ErrorKind};
use minijinja_contrib::globals;

use super::{methods, python_json};

/// What a template said with `raise_exception`.
pub(crate) type Raised = Arc<OnceLock<String>>;

/// Adds what transformers' environment has beyond Jinja itself.
pub(crate) fn add_to(env: &mut Environment<'_>, raised: &Raised, now: Option<SystemTime>) {
    let raised = Arc::clone(raised);
    env.add_function("raise_exception", move |message: String| {
        let error = Error::new(ErrorKind::InvalidOperation, message.clone());
        // The first message wins: nothing runs after it.
        let _ = raised.set(message);
        Err::<String, _>(error)
    });
    env.add_function("strftime_now", move |format: &str| {
        strftime(format, now.unwrap_or_else(SystemTime::now))
    });
    env.add_function("cycler", globals::cycler);
    env.add_function("joiner", globals::joiner);
    env.add_filter("tojson", python_json::tojson);
    env.set_unknown_method_callback(methods::call_method);
}

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment of the proleptic Gregorian calendar, UTC.
struct Moment {
    year: u64,
    /// 0 is January.
    month: usize,
    /// 1 is the first.
    day: u64,
    day_of_year: u64,
    /// 0 is Monday.
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
    microsecond: u32,
}

/// Formats `time` in UTC with the directives of C's strftime that do not depend on a locale.
fn strftime(format: &str, time: SystemTime) -> Result<String, Error> {
    let moment = Moment::from(time.duration_since(UNIX_EPOCH).unwrap_or_default());
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('-') => {
                let field = characters
                    .next()
                    .and_then(|directive| moment.field(directive));
                let field = field.ok_or_else(|| unknown_directive(format))?;
                let trimmed = field.trim_start_matches('0');
                text.push_str(if trimmed.is_empty() { "0" } else { trimmed });
            }
            Some(directive) => {
                let field = moment.field(directive);
                text.push_str(&field.ok_or_else(|| unknown_directive(format))?);
            }
            None => text.push('%'),
        }
    }
    Ok(text)
}

fn unknown_directive(format: &str) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("strftime_now: {format:?} has a directive that is not known"),
    )
}

impl Moment {
    fn field(&self, directive: char) -> Option<String> {
        let month = MONTHS.get(self.month)?;
        let weekday = DAYS.get(self.weekday)?;
        let hour12 = (self.hour + 11) % 12 + 1;
        let half = if self.hour < 12 { "AM" } else { "PM" };
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{:02}", self.month + 1),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year),
            'B' => (*month).to_owned(),
            'b' | 'h' => month.chars().take(3).collect(),
            'A' => (*weekday).to_owned(),
            'a' => weekday.chars().take(3).collect(),
            'u' => (self.weekday + 1).to_string(),
            'w' => ((self.weekday + 1) % 7).to_string(),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{hour12:02}"),
            'p' => half.to_owned(),
            'M' => format!("{:02}", self.minute),
            'S' => format!("{:02}", self.second),
            'f' => format!("{:06}", self.microsecond),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month + 1, self.day),
            'T' | 'X' => format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            'R' => format!("{:02}:{:02}", self.hour, self.minute),
            'D' | 'x' => format!(
                "{:02}/{:02}/{:02}",
                self.month + 1,
                self.day,
                self.year % 100
            ),
            'z' => "+0000".to_owned(),
            'Z' => "UTC".to_owned(),
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

impl From<Duration> for Moment {
    /// `elapsed`: time since 1970-01-01, a Thursday.
    fn from(elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs();
        let days = seconds / 86_400;
        // Years are counted from March, so that the leap day is the last of its year (H. Hinnant, chrono-compatible
        // low-level date algorithms): day 719468 of that count is 1970-01-01.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_march_year =
            day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let day = day_of_march_year - (153 * march_month + 2) / 5 + 1;
        let january_or_february = march_month >= 10;
        let year = era * 400 + year_of_era + u64::from(january_or_february);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year = if january_or_february {
            day_of_march_year - 306 + 1
        } else {
            day_of_march_year + 60 + u64::from(leap)
        };
        Self {
            year,
            month: usize::try_from((march_month + 2) % 12).unwrap_or(0),
            day,
            day_of_year,
            weekday: usize::try_from((days + 3) % 7).unwrap_or(0),
            hour: seconds / 3_600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            microsecond: elapsed.subsec_micros(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_before_and_after_leap_days_are_right() {
        let cases = [
            (0, "1970-01-01 Thu 001 00:00:00"),
            (951_782_399, "2000-02-28 Mon 059 23:59:59"),
            (951_782_400, "2000-02-29 Tue 060 00:00:00"),
            (951_868_800, "2000-03-01 Wed 061 00:00:00"),
            (1_735_689_599, "2024-12-31 Tue 366 23:59:59"),
            (4_107_542_400, "2100-03-01 Mon 060 00:00:00"),
        ];
        for (seconds, expected) in cases {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let text = strftime("%Y-%m-%d %a %j %H:%M:%S", time).expect("directives are known");
            assert_eq!(text, expected, "{seconds}");
        }
    }

    #[test]
    fn a_minus_removes_leading_zeros_and_unknown_directives_are_refused() {
        let time = UNIX_EPOCH + Duration::from_secs(951_782_400);
        assert_eq!(
            strftime("%-d %-m %B %I%p %%", time).ok().as_deref(),
            Some("29 2 February 12AM %")
        );
        assert!(strftime("%Q", time).is_err());
    }
}
