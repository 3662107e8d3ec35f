//! The text of a token: a prefix that says what it is, then 32 random bytes.

use ledger_core::rights::TokenKind;
use std::fmt;

/// A token's whole text. It is never printed by `Debug`, so that no log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAToken;

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this is no token of Ledger: one begins with ldg_agent_, ldg_activate_, ldg_read_ or ldg_admin_ and has 43 characters after that",
        )
    }
}

impl std::error::Error for NotAToken {}

/// Characters behind the prefix: 32 bytes in base 64 for URLs, without padding.
const RANDOM_CHARS: usize = 43;

impl Secret {
    /// Makes a token's text of its kind and the base 64 (for URLs, unpadded) of 32 random bytes.
    pub fn new(kind: TokenKind, random: &str) -> Self {
        Self(format!("{}{random}", kind.prefix()))
    }

    /// Checks the form, after cutting white space around it.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        let rest = TokenKind::ALL.iter().find_map(|kind| text.strip_prefix(kind.prefix()));
        let valid = rest.is_some_and(|rest| {
            rest.len() == RANDOM_CHARS
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
        if valid { Ok(Self(text.to_owned())) } else { Err(NotAToken) }
    }

    /// Returns the text, to send or to hash it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
