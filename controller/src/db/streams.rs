//! Publishers' streams: what of them was taken in, and what is missing.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::DbError;
use super::entity::{gap, stream};
use crate::dispatcher::decode::Heard;
use crate::dispatcher::streams::Taken;

/// eventd's streams; agents have their own.
pub const EVENTD: &str = "eventd";

/// Notes that messages of one journal came, and what they leave missing. Locks the stream until the transaction ends.
///
/// # Errors
/// The database's own; of two who hear of a new journal at once, the second's is a duplicate.
pub async fn hear(
    tx: &DatabaseTransaction,
    backend: i64,
    heard: &[&Heard],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let Some(epoch) = heard.first().map(|heard| &heard.epoch) else {
        return Ok(());
    };
    let known = stream::Entity::find()
        .filter(stream::Column::BackendId.eq(backend))
        .filter(stream::Column::Publisher.eq(EVENTD))
        .filter(stream::Column::Epoch.eq(epoch))
        .lock_exclusive()
        .one(tx)
        .await?;
    let (id, mut taken) = match &known {
        Some(stream) => (stream.id, taken(tx, stream).await?),
        None => {
            let new = stream::ActiveModel {
                id: ActiveValue::NotSet,
                backend_id: ActiveValue::Set(backend),
                publisher: ActiveValue::Set(EVENTD.to_owned()),
                node: ActiveValue::Set(String::new()),
                epoch: ActiveValue::Set(epoch.clone()),
                contiguous: ActiveValue::Set(0),
                highest: ActiveValue::Set(0),
                heard_at: ActiveValue::Set(now),
                version: ActiveValue::Set(None),
            };
            let made = stream::Entity::insert(new).exec(tx).await?;
            (made.last_insert_id, Taken::default())
        }
    };
    let before = taken.gaps.clone();
    for (previous, sequence) in heard.iter().filter_map(|heard| heard.covers) {
        taken.cover(previous, sequence);
    }
    let mut row = stream::ActiveModel {
        id: ActiveValue::Unchanged(id),
        contiguous: ActiveValue::Set(taken.contiguous()),
        highest: ActiveValue::Set(taken.highest),
        heard_at: ActiveValue::Set(now),
        ..Default::default()
    };
    if let Some((node, version)) = heard.iter().rev().find_map(|heard| heard.from.as_ref()) {
        row.node = ActiveValue::Set(node.chars().take(253).collect());
        row.version = ActiveValue::Set(Some(version.chars().take(64).collect()));
    }
    stream::Entity::update(row).exec(tx).await?;
    write_gaps(tx, id, &before, &taken.gaps, now).await
}

async fn taken(tx: &DatabaseTransaction, stream: &stream::Model) -> Result<Taken, DbError> {
    let gaps = gap::Entity::find()
        .filter(gap::Column::StreamId.eq(stream.id))
        .order_by_asc(gap::Column::First)
        .all(tx)
        .await?;
    Ok(Taken {
        highest: stream.highest,
        gaps: gaps.iter().map(|gap| (gap.first, gap.last)).collect(),
    })
}

/// A gap that only shrank is as old as it was: by its age it is closed in another way.
async fn write_gaps(
    tx: &DatabaseTransaction,
    stream: i64,
    before: &[(i64, i64)],
    after: &[(i64, i64)],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if before == after {
        return Ok(());
    }
    let old = gap::Entity::find()
        .filter(gap::Column::StreamId.eq(stream))
        .all(tx)
        .await?;
    let age = |first: i64| {
        let holder = old
            .iter()
            .find(|gap| (gap.first..=gap.last).contains(&first));
        holder.map_or(now, |gap| gap.found_at)
    };
    let rows = after
        .iter()
        .filter(|range| !before.contains(range))
        .map(|(first, last)| {
            let row = gap::Model {
                id: 0,
                stream_id: stream,
                first: *first,
                last: *last,
                found_at: age(*first),
            };
            let mut row = row.into_active_model().reset_all();
            row.id = ActiveValue::NotSet;
            row
        });
    let rows: Vec<gap::ActiveModel> = rows.collect();
    let gone = before
        .iter()
        .filter(|range| !after.contains(range))
        .map(|(first, _)| *first);
    let gone: Vec<i64> = gone.collect();
    gap::Entity::delete_many()
        .filter(gap::Column::StreamId.eq(stream))
        .filter(gap::Column::First.is_in(gone))
        .exec(tx)
        .await?;
    if !rows.is_empty() {
        gap::Entity::insert_many(rows)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(())
}
