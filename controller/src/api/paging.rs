//! `limit` and `marker` of lists that are in memory. Pure.

use super::body::Pairs;
use super::fault::Fault;

/// Things a page has at most.
pub const MOST: usize = 1000;

/// A part of a list that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    marker: Option<String>,
}

impl Page {
    /// What a query says.
    ///
    /// # Errors
    /// `limit` is no number, or negative.
    pub fn of(query: &Pairs) -> Result<Self, Fault> {
        let limit = match query.last("limit") {
            None => MOST,
            Some(text) => {
                let number: Result<usize, _> = text.parse();
                let number = number.map_err(|_| Fault::bad("limit is a number, 0 or more"))?;
                number.min(MOST)
            }
        };
        let marker = query.last("marker").map(str::to_owned);
        Ok(Self { limit, marker })
    }

    /// The page of `all`, and whether there is more; where nothing has the marker's name, 400.
    ///
    /// # Errors
    /// The marker is unknown.
    pub fn cut<T>(
        &self,
        mut all: Vec<T>,
        id: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, bool), Fault> {
        if let Some(marker) = &self.marker {
            let at = all.iter().position(|each| id(each) == *marker);
            let at = at.ok_or_else(|| Fault::bad(format!("marker {marker} could not be found")))?;
            all.drain(..=at);
        }
        let has_more = all.len() > self.limit;
        all.truncate(self.limit);
        Ok((all, has_more))
    }
}

/// The query of the first page.
#[must_use]
pub fn first(query: &Pairs) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (key, value) in query.0.iter().filter(|(key, _)| key != "marker") {
        text.append_pair(key, value);
    }
    text.finish()
}

/// The query of the page after the one that ends with `last`.
#[must_use]
pub fn next(query: &Pairs, last: &str) -> String {
    let mut text = form_urlencoded::Serializer::new(first(query));
    text.append_pair("marker", last);
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Pairs {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Pairs(pairs.into_owned().collect())
    }

    #[test]
    fn pages_follow_each_other() {
        let all = || vec!["a", "b", "c"];
        let cut = |text: &str| {
            Page::of(&query(text))
                .unwrap()
                .cut(all(), |each| (*each).to_owned())
        };
        assert_eq!(cut("").unwrap(), (all(), false));
        assert_eq!(cut("limit=2").unwrap(), (vec!["a", "b"], true));
        assert_eq!(cut("limit=2&marker=b").unwrap(), (vec!["c"], false));
        assert_eq!(cut("limit=0").unwrap(), (vec![], true));
        assert!(matches!(cut("marker=x"), Err(Fault::BadRequest(_))));
        for wrong in ["limit=-1", "limit=x", "limit="] {
            assert!(Page::of(&query(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(
            next(&query("limit=2&marker=b&name=x y"), "d"),
            "limit=2&name=x+y&marker=d"
        );
    }
}
