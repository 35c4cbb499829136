//! Which images a list is asked for, and in which order (Image v2, "List images"). Pure.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDateTime, Utc};
use uuid::Uuid;

use crate::api::body::Pairs;
use crate::api::fault::Fault;
use crate::db::images::Owned;

/// Words of a query that are no filters.
const OTHERS: [&str; 5] = ["limit", "marker", "sort", "sort_key", "sort_dir"];

/// Whether an image is what all filters of the query ask for.
///
/// # Errors
/// A filter's value is nonsense.
pub(super) fn fits((row, owner): &Owned, query: &Pairs) -> Result<bool, Fault> {
    for (key, value) in query
        .0
        .iter()
        .filter(|(key, _)| !OTHERS.contains(&key.as_str()))
    {
        let id = row.uuid.to_string();
        let owner = owner
            .map(|owner| owner.simple().to_string())
            .unwrap_or_default();
        let is_so = match key.as_str() {
            "id" => one_of(value, &id)?,
            "name" => one_of(value, &row.name)?,
            "status" => one_of(value, &row.status)?,
            "container_format" => one_of(value, super::images::CONTAINER_FORMAT)?,
            "disk_format" => one_of(value, super::images::DISK_FORMAT)?,
            "owner" => {
                Uuid::try_parse(value).is_ok_and(|value| value.simple().to_string() == owner)
            }
            "visibility" => match value.as_str() {
                "all" => true,
                "public" | "private" => value == &row.visibility,
                "shared" | "community" => false,
                other => return Err(Fault::bad(format!("invalid visibility value: {other}"))),
            },
            "protected" | "os_hidden" => match value.to_ascii_lowercase().as_str() {
                "true" => false,
                "false" => true,
                other => return Err(Fault::bad(format!("invalid value {other} for {key}"))),
            },
            "member_status" => match value.as_str() {
                "accepted" | "all" => true,
                "pending" | "rejected" => row.visibility == "public",
                other => return Err(Fault::bad(format!("invalid member_status {other}"))),
            },
            // No image has a size here.
            "size_min" => number(key, value)? == 0,
            "size_max" => number(key, value).map(|_| true)?,
            "min_ram" => number(key, value)? == i64::from(row.min_ram),
            "min_disk" => number(key, value)? == i64::from(row.min_disk),
            "created_at" => at(value, row.created_at)?,
            "updated_at" => at(value, row.updated_at)?,
            // A tag, or a property: no image has any.
            _ => false,
        };
        if !is_so {
            return Ok(false);
        }
    }
    Ok(true)
}

fn number(key: &str, value: &str) -> Result<i64, Fault> {
    let number: Result<i64, _> = value.parse();
    let number = number.ok().filter(|number| *number >= 0);
    number.ok_or_else(|| Fault::bad(format!("{key} is a number, 0 or more")))
}

/// `x`, or `in:x,"y,z"`.
fn one_of(value: &str, of: &str) -> Result<bool, Fault> {
    let Some(list) = value.strip_prefix("in:") else {
        return Ok(value == of);
    };
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in list.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => words.push(std::mem::take(&mut word)),
            letter => word.push(letter),
        }
    }
    if is_quoted {
        return Err(Fault::bad("a quotation mark has no other in a filter"));
    }
    words.push(word);
    Ok(words.iter().any(|word| word == of))
}

/// A moment, or `gt:`, `gte:`, `lt:`, `lte:`, `eq:`, `neq:` and one.
fn at(value: &str, of: DateTime<Utc>) -> Result<bool, Fault> {
    let (operator, text) = match value.split_once(':') {
        Some((operator @ ("gt" | "gte" | "lt" | "lte" | "eq" | "neq"), text)) => (operator, text),
        _ => ("eq", value),
    };
    let asked = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
    let asked = asked.or_else(|_| {
        let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
        naive.map(|at| at.and_utc())
    });
    let asked = asked.map_err(|_| Fault::bad(format!("{text} is no time")))?;
    let order = of.timestamp().cmp(&asked.timestamp());
    Ok(match operator {
        "gt" => order.is_gt(),
        "gte" => order.is_ge(),
        "lt" => order.is_lt(),
        "lte" => order.is_le(),
        "neq" => order.is_ne(),
        _ => order.is_eq(),
    })
}

/// The sort keys and directions: `sort=name:asc,status` or `sort_key=` and `sort_dir=`, each several times.
fn order(query: &Pairs) -> Result<Vec<(String, bool)>, Fault> {
    let is_falling = |text: &str| match text {
        "asc" => Ok(false),
        "desc" => Ok(true),
        other => Err(Fault::bad(format!("invalid sort direction: {other}"))),
    };
    let has_keys = query.last("sort_key").is_some() || query.last("sort_dir").is_some();
    if let Some(sort) = query.last("sort") {
        if has_keys {
            return Err(Fault::bad("sort is not used with sort_key and sort_dir"));
        }
        let each = |part: &str| match part.split_once(':') {
            Some((key, direction)) => Ok((key.to_owned(), is_falling(direction)?)),
            None => Ok((part.to_owned(), true)),
        };
        return sort.split(',').map(each).collect();
    }
    let directions: Vec<&str> = query.all("sort_dir").collect();
    let keys: Vec<&str> = query.all("sort_key").collect();
    let keys = if keys.is_empty() {
        vec!["created_at"]
    } else {
        keys
    };
    if directions.len() > 1 && directions.len() != keys.len() {
        return Err(Fault::bad("there are not as many sort_dir as sort_key"));
    }
    let direction = |at: usize| directions.get(at).or(directions.first()).copied();
    let each = |(at, key): (usize, &&str)| {
        Ok((
            (*key).to_owned(),
            is_falling(direction(at).unwrap_or("desc"))?,
        ))
    };
    keys.iter().enumerate().map(each).collect()
}

/// Sorts as the query says; what is equal keeps its order.
///
/// # Errors
/// There is no such key or direction.
pub(super) fn sort(rows: &mut [Owned], query: &Pairs) -> Result<(), Fault> {
    type Compare = fn(&Owned, &Owned) -> Ordering;
    let mut by: Vec<(Compare, bool)> = Vec::new();
    for (key, is_falling) in order(query)? {
        let compare: Compare = match key.as_str() {
            "name" => |(a, _), (b, _)| a.name.cmp(&b.name),
            "status" => |(a, _), (b, _)| a.status.cmp(&b.status),
            "id" => |(a, _), (b, _)| a.uuid.cmp(&b.uuid),
            "created_at" => |(a, _), (b, _)| a.created_at.cmp(&b.created_at),
            "updated_at" => |(a, _), (b, _)| a.updated_at.cmp(&b.updated_at),
            "min_ram" => |(a, _), (b, _)| a.min_ram.cmp(&b.min_ram),
            "min_disk" => |(a, _), (b, _)| a.min_disk.cmp(&b.min_disk),
            "visibility" => |(a, _), (b, _)| a.visibility.cmp(&b.visibility),
            "owner" => |(_, a), (_, b)| a.cmp(b),
            "container_format" | "disk_format" | "size" => |_, _| Ordering::Equal,
            other => return Err(Fault::bad(format!("invalid sort key: {other}"))),
        };
        by.push((compare, is_falling));
    }
    rows.sort_by(|a, b| {
        let orders = by.iter().map(|(compare, is_falling)| {
            let order = compare(a, b);
            if *is_falling { order.reverse() } else { order }
        });
        orders.fold(Ordering::Equal, Ordering::then)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_words_may_quote_commas() {
        assert!(one_of("a", "a").unwrap() && !one_of("a", "b").unwrap());
        assert!(one_of("in:a,b", "b").unwrap());
        assert!(one_of("in:\"a,b\",c", "a,b").unwrap());
        assert!(!one_of("in:a,b", "a,b").unwrap());
        assert!(one_of("in:\"a", "a").is_err());
    }

    #[test]
    fn moments_are_compared_to_the_second() {
        let of: DateTime<Utc> = "2026-01-02T03:04:05.6Z".parse().unwrap();
        for (asked, is_so) in [
            ("2026-01-02T03:04:05Z", true),
            ("eq:2026-01-02T03:04:05", true),
            ("neq:2026-01-02T03:04:05Z", false),
            ("gt:2026-01-02T03:04:04Z", true),
            ("lt:2026-01-02T03:04:05Z", false),
            ("lte:2026-01-02T03:04:05Z", true),
        ] {
            assert_eq!(at(asked, of).unwrap(), is_so, "{asked}");
        }
        assert!(at("gt:yesterday", of).is_err());
    }
}
