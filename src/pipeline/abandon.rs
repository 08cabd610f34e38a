//! The way out for a prepared epoch that the destination refuses for good. Decision: docs/adr/0040-abandoned-epochs.md.

use super::Pipeline;
use super::abandoned::{AbandonedEpoch, MOST_ABANDONED};
use super::epoch::{Checkpoint, Owner, Prepared, check_transactional, digest};
use super::events::{Event, Events};
use super::load::Load;
use crate::checkpoint::Record;
use crate::checkpoint::chain::{self, Chain};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EpochLedger, ShardKey};
use crate::sink::{Enumeration, EpochContext};

impl Pipeline {
    /// Gives up prepared epochs that the destination refuses for good, such as rows that break a constraint which the table has been
    /// given since. Their records are read from the landing (or the source) again by the next run, in a new epoch: let a stage refuse
    /// them first, or the destination refuses that one as well.
    ///
    /// `by` says who does it, and `why`: both are kept in the chain with the refusal and the counts, and
    /// [`abandoned`](Self::abandoned) gives them. No secrets.
    ///
    /// 1. *Only what is refused*: each prepared epoch is brought to its end first, as a run would. What then is committed, or may be later
    ///    (the destination is away, an answer was lost), is not given up. Gives those that were; none if nothing was refused.
    /// 2. *Decided by the destination*: an empty epoch takes the place of the one that is given up, and moves the mark. An older instance
    ///    that still holds the old one is fenced; if it commits first, the old one counts, and that is on record too.
    /// 3. *Nothing is lost*: positions, states of stages and accounts go back to where they were before the epoch. Of a sink that
    ///    [demands](crate::sink::Sink::demand) enumerations, the one that it refuses to take as whole is passed over: the table stays as it is,
    ///    until the next enumeration is whole.
    ///
    /// ```
    /// # use landfall::pipeline::Pipeline;
    /// # async fn mend(orders: Pipeline) -> landfall::Result<()> {
    /// for epoch in orders.abandon_refused("ana", "the table takes no negative totals since May").await? {
    ///     eprintln!("{}: {} records will be staged anew", epoch.shard, epoch.ledger.read);
    /// }
    /// // Now with a stage that sends such records to the quarantine.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Config` if the sink is not [`Transactional`](crate::sink::Transactional): a part of the epoch may be visible; or if `by` or `why` is
    /// empty or longer than 1,000 bytes. As a run that opens its shards: what the destination says that is no refusal for good, `Corrupt`, `Fenced`. A run
    /// that goes on meanwhile is fenced.
    ///
    /// # Cancellation
    /// Dropped at any await, an epoch is given up or not: the next run, or the next call, finds out and goes on.
    pub async fn abandon_refused(&self, by: &str, why: &str) -> Result<Vec<AbandonedEpoch>> {
        check_transactional(self.sink.as_ref())?;
        for said in [by, why] {
            if said.trim().is_empty() || said.len() > MOST_SAID {
                return Err(Error::config("abandon epoch", "it must be said who does it, and why, in few words")
                    .with("bytes", said.len())
                    .with("most_bytes", MOST_SAID));
            }
        }
        chain::probe(self.checkpoints.as_ref(), &self.env).await?;
        let events = Events::new(&self.name);
        let mut abandoned = Vec::new();
        for number in 0..self.settings.shards {
            let shard = ShardKey { pipeline: self.name.clone(), shard: number };
            let load = self.load_of(&shard, &events)?;
            abandoned.extend(load.abandon(by, why).await.map_err(|e| e.with("shard", shard))?);
        }
        Ok(abandoned)
    }
}

impl Load {
    async fn abandon(mut self, by: &str, why: &str) -> Result<Option<AbandonedEpoch>> {
        let (mut chain, owner, newest) = self.own().await?;
        match self.abandon_newest(&mut chain, &owner, newest, by, why).await {
            Ok(abandoned) => Ok(abandoned),
            Err(error) => Err(chain.explain(error).await),
        }
    }

    async fn abandon_newest(
        &mut self,
        chain: &mut Chain,
        owner: &Owner,
        newest: Option<Record>,
        by: &str,
        why: &str,
    ) -> Result<Option<AbandonedEpoch>> {
        let checked = self.check(newest.as_ref()).await?;
        let (Some(refused), Some(record)) = (checked, newest) else { return Ok(None) };
        let number = record.number;
        let Err(refusal) = self.finish(chain, owner, number, refused.clone()).await else { return Ok(None) };
        let Some(prepared) = &refused.prepared else { return Err(refusal) };
        // An epoch that abandons another one has nothing that could be refused for what it is.
        if !is_for_good(&refusal) || refused.abandons(number).is_some() {
            return Err(refusal);
        }
        let held = self.sink.mark(&self.shard).await?.map(|mark| mark.epoch);
        if held == Some(number) {
            // Its rejects are still to be shown.
            return self.finish(chain, owner, number, refused).await.map(|_| None);
        }
        if held != prepared.previous {
            return Err(Error::corrupt("abandon epoch", "the destination has moved on").with_source(refusal));
        }
        let before = match refused.enumeration {
            // It has no rows of its own, and the ones that wait would be refused again: the next enumeration takes its place.
            Some(Enumeration { whole: true, .. }) => refused.clone(),
            _ => {
                let before = record.newest_data.ok_or_else(|| Error::bug("abandon epoch", "nothing is before it"))?;
                Checkpoint::decode(&self.shard, &chain.read(before).await?)?
            }
        };
        let abandons = AbandonedEpoch {
            shard: self.shard.clone(),
            epoch: number,
            digest: prepared.digest.clone(),
            instead: chain.next_number(),
            at: self.env.now(),
            by: by.to_owned(),
            why: why.to_owned(),
            refusal: in_few_words(&refusal),
            ledger: refused.ledger.clone(),
        };
        let (next, instead) = self.instead(chain, &refused, before, prepared.previous, abandons.clone()).await?;
        let (ended_at, ended, _) = self.finish(chain, owner, next, instead).await?;
        if ended.abandons(ended_at).is_none() {
            // It was committed after all, by an older owner.
            return Ok(None);
        }
        let (shard, records) = (self.shard.clone(), abandons.ledger.staged);
        self.events.send(Event::EpochAbandoned { shard, epoch: number, records });
        Ok(Some(abandons))
    }

    /// Prepares the epoch that takes the place of one that is abandoned: empty, and everything as it was before that one.
    async fn instead(
        &self,
        chain: &mut Chain,
        refused: &Checkpoint,
        before: Checkpoint,
        previous: Option<u64>,
        abandons: AbandonedEpoch,
    ) -> Result<(u64, Checkpoint)> {
        let enumeration = refused.enumeration.map(|now| match before.enumeration {
            Some(then) if then.number == now.number => Enumeration { whole: false, ..then },
            _ => Enumeration::begun(now.number),
        });
        let number = abandons.instead;
        let mut abandoned = refused.abandoned.clone();
        abandoned.push(abandons);
        abandoned.drain(..abandoned.len().saturating_sub(MOST_ABANDONED));
        let context = EpochContext {
            enumeration,
            must_commit: true,
            ..EpochContext::new(self.shard.clone(), chain.generation(), number, self.env.clone())
        };
        let output = self.sink.open(context).await?.finish().await?;
        let staged = output.ok_or_else(|| Error::bug("abandon epoch", "the sink staged nothing to commit"))?.staged;
        let checkpoint = Checkpoint {
            prepared: Some(Prepared { previous, digest: digest(&staged), staged }),
            marked: Some(number),
            quarantine: None,
            ledger: EpochLedger::default(),
            enumeration,
            abandoned,
            config: refused.config.clone(),
            landing: refused.landing.clone(),
            ..before
        };
        let written = chain.append(checkpoint.encode()?).await?;
        Ok((written, checkpoint))
    }
}

/// Bytes of what is said of an epoch that is given up, in each of the words about it: each checkpoint repeats them.
const MOST_SAID: usize = 1_000;

fn in_few_words(refusal: &Error) -> String {
    let mut said = refusal.to_string();
    if said.len() > MOST_SAID {
        let whole = (0..=MOST_SAID).rev().find(|end| said.is_char_boundary(*end));
        said.truncate(whole.unwrap_or_default());
        said.push('…');
    }
    said
}

/// Whether a commit that fails so fails each time.
fn is_for_good(refusal: &Error) -> bool {
    use ErrorKind::{Ambiguous, Cancelled, Fenced, Unavailable};
    !refusal.is_transient() && !matches!(refusal.kind(), Ambiguous | Cancelled | Fenced | Unavailable)
}
