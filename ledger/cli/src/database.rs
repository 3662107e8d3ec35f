//! The address of a PostgreSQL database, whose password is never shown.

use std::fmt;
use std::str::FromStr;

/// An address like `postgres://ledger@db.example.org/ledger`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Returns the whole address, for the driver alone.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the address without what may be secret in it.
    fn shown(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgres", &self.0));
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        match rest.rsplit_once('@') {
            Some((login, place)) => {
                let user = login.split_once(':').map_or(login, |(user, _)| user);
                format!("{scheme}://{user}@{place}")
            }
            None => format!("{scheme}://{rest}"),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DatabaseUrl {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Not repeated in the error: it may hold a password.
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Ok(Self(text.to_owned()))
        } else {
            Err("it must be an address like postgres://ledger@db.example.org/ledger")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (text, shown) in [
            ("postgres://ledger:se@cret@db/ledger?password=secret", "postgres://ledger@db/ledger"),
            ("postgresql://db:5432/ledger", "postgresql://db:5432/ledger"),
            ("postgres:///ledger?host=/run/postgresql", "postgres:///ledger"),
        ] {
            let url: DatabaseUrl = text.parse().expect("an address");
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!(url.reveal(), text);
        }
        assert!("mysql://x".parse::<DatabaseUrl>().is_err());
    }
}
