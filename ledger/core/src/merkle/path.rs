//! The addresses of tiles, as C2SP tlog-tiles writes them: `x001/x234/067`, and
//! `x001/x234/067.p/8` for the first 8 hashes of a tile.

use super::tile::TILE_WIDTH;

/// Groups of three digits that an index of 64 bits can have.
const GROUPS_MAX: usize = 7;

/// A tile's place in its level, and how many of its hashes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TilePath {
    /// The tile's index.
    pub index: u64,
    /// 1 to 256.
    pub width: usize,
}

/// Text that is no address of a tile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no tile: it must be its index in groups of three digits, all but the last behind an x, like x001/234, and .p/WIDTH for a part of it"
)]
pub struct InvalidTilePath(String);

impl std::fmt::Display for TilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        while let Some(group) = groups.pop() {
            match groups.is_empty() {
                true => write!(f, "{group:03}")?,
                false => write!(f, "x{group:03}/")?,
            }
        }
        if self.width < TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl std::str::FromStr for TilePath {
    type Err = InvalidTilePath;
    fn from_str(text: &str) -> Result<Self, InvalidTilePath> {
        let read = parse(text).filter(|read| read.to_string() == text);
        read.ok_or_else(|| InvalidTilePath(text.chars().take(80).collect()))
    }
}

/// Reads more spellings than there are; the caller compares.
fn parse(text: &str) -> Option<TilePath> {
    let (index, width) = match text.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok()?),
        None => (text, TILE_WIDTH),
    };
    let groups: Vec<&str> = index.split('/').collect();
    if groups.len() > GROUPS_MAX || width == 0 || width > TILE_WIDTH {
        return None;
    }
    let number = |group: &str| group.trim_start_matches('x').parse::<u64>().ok();
    let index = groups
        .into_iter()
        .try_fold(0_u64, |index, group| index.checked_mul(1_000)?.checked_add(number(group)?))?;
    Some(TilePath { index, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification_and_each_has_one_spelling() {
        for (index, width, text) in [
            (0, 256, "000"),
            (1_234_067, 256, "x001/x234/067"),
            (273, 112, "273.p/112"),
            (999_000, 1, "x999/000.p/1"),
            (u64::MAX, 256, "x018/x446/x744/x073/x709/x551/615"),
        ] {
            let path = TilePath { index, width };
            assert_eq!(path.to_string(), text);
            assert_eq!(text.parse(), Ok(path));
        }
        for text in [
            "",
            "0",
            "00",
            "0000",
            "x000",
            "x000/001",
            "x001/x234",
            "001/234",
            "000.p/0",
            "000.p/256",
            "000.p/01",
            "000.p/",
            "-01",
            "+01",
            "000/",
            "xx01/000",
            "x1/000",
            "x018/x446/x744/x073/x709/x551/616",
            "x001/x001/x001/x001/x001/x001/x001/001",
        ] {
            assert!(text.parse::<TilePath>().is_err(), "{text} was accepted");
        }
    }
}
