//! Days and times of the proleptic Gregorian calendar, in UTC.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

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

/// A point in time, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    unix: u64,
    nanos: u32,
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        // A clock before 1970 is no clock.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::at(since.as_secs(), since.subsec_nanos())
    }

    /// From seconds since 1970. The arithmetic is that of years which begin in March, so that the leap day is the last:
    /// in an era of 400 years there are 146 097 days.
    fn at(unix: u64, nanos: u32) -> Self {
        let days = unix / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self { unix, nanos, year, month, day }
    }

    fn clock(&self) -> [u64; 3] {
        [self.unix / 3_600 % 24, self.unix / 60 % 60, self.unix % 60]
    }

    fn day_of_year(&self) -> u64 {
        let is_leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let before = before.get(self.month as usize - 1).copied().unwrap_or_default();
        before + self.day + u64::from(is_leap && self.month > 2)
    }

    /// Writes what strftime has for the letter, and nanoseconds for N. False if there is no such letter here.
    pub(crate) fn write(&self, letter: char, to: &mut String) -> bool {
        let Self { unix, nanos, year, month, day } = self;
        let [hour, minute, second] = self.clock();
        // The first day of 1970 was a Thursday.
        let weekday = (unix / 86_400 + 4) % 7;
        let day_name = DAYS.get(weekday as usize).copied().unwrap_or_default();
        let month_name = MONTHS.get(*month as usize - 1).copied().unwrap_or_default();
        let half = if hour < 12 { "AM" } else { "PM" };
        let twelve = (hour + 11) % 12 + 1;
        let written = match letter {
            'Y' => write!(to, "{year}"),
            'y' => write!(to, "{:02}", year % 100),
            'C' => write!(to, "{:02}", year / 100),
            'm' => write!(to, "{month:02}"),
            'd' => write!(to, "{day:02}"),
            'e' => write!(to, "{day:2}"),
            'j' => write!(to, "{:03}", self.day_of_year()),
            'u' => write!(to, "{}", (weekday + 6) % 7 + 1),
            'w' => write!(to, "{weekday}"),
            'A' => write!(to, "{day_name}"),
            'a' => write!(to, "{day_name:.3}"),
            'B' => write!(to, "{month_name}"),
            'b' | 'h' => write!(to, "{month_name:.3}"),
            'H' => write!(to, "{hour:02}"),
            'I' => write!(to, "{twelve:02}"),
            'p' => write!(to, "{half}"),
            'M' => write!(to, "{minute:02}"),
            'S' => write!(to, "{second:02}"),
            'N' => write!(to, "{nanos:09}"),
            's' => write!(to, "{unix}"),
            'F' => write!(to, "{year}-{month:02}-{day:02}"),
            'D' => write!(to, "{month:02}/{day:02}/{:02}", year % 100),
            'T' => write!(to, "{hour:02}:{minute:02}:{second:02}"),
            'R' => write!(to, "{hour:02}:{minute:02}"),
            'r' => write!(to, "{twelve:02}:{minute:02}:{second:02} {half}"),
            'c' => {
                write!(to, "{day_name:.3} {month_name:.3} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
            }
            'z' => write!(to, "+0000"),
            'Z' => write!(to, "UTC"),
            _ => return false,
        };
        written.is_ok()
    }

    /// `2016-08-10T09:47:38+0000`.
    pub(crate) fn iso(&self) -> String {
        let [hour, minute, second] = self.clock();
        format!("{}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}+0000", self.year, self.month, self.day)
    }

    /// `2016-08-10T09:47:38.786368Z+0000`, as in the JSON of mosquitto_sub.
    pub(crate) fn stamp(&self) -> String {
        let [hour, minute, second] = self.clock();
        let micros = self.nanos / 1_000;
        format!(
            "{}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z+0000",
            self.year, self.month, self.day
        )
    }

    /// `1470818943.786368637`.
    pub(crate) fn unix(&self) -> String {
        format!("{}.{:09}", self.unix, self.nanos)
    }
}
