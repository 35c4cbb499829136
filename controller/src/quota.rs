//! Whether a project may have more of something: counted from its rows, while nobody else of the project is let count.

use crate::api::fault::Fault;
use crate::config::Quota;
use crate::db::quotas::{Resource, Usage};

/// What a project may have: its own rows over the configuration's words. -1 is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits(Quota);

impl Limits {
    /// The configuration's, but for what the project's rows say otherwise.
    #[must_use]
    pub fn new(default: Quota, rows: &[(Resource, i64)]) -> Self {
        let mut limits = default;
        for (resource, most) in rows {
            let place = match resource {
                Resource::Instances => &mut limits.instances,
                Resource::Cores => &mut limits.cores,
                Resource::Ram => &mut limits.ram,
                Resource::Disk => &mut limits.disk,
                Resource::FloatingIps => &mut limits.floating_ips,
                Resource::Networks => &mut limits.networks,
            };
            *place = *most;
        }
        Self(limits)
    }

    const fn most(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Instances => self.0.instances,
            Resource::Cores => self.0.cores,
            Resource::Ram => self.0.ram,
            Resource::Disk => self.0.disk,
            Resource::FloatingIps => self.0.floating_ips,
            Resource::Networks => self.0.networks,
        }
    }

    /// Lets pass what fits.
    ///
    /// # Errors
    /// [`Fault::OverLimit`], in Nova's words.
    pub fn check(&self, used: Usage, more: Usage) -> Result<(), Fault> {
        for resource in Resource::ALL {
            let (most, used, more) = (self.most(resource), used.of(resource), more.of(resource));
            if more > 0 && most >= 0 && used.saturating_add(more) > most {
                let name = resource.as_str();
                return Err(Fault::OverLimit(format!(
                    "Quota exceeded for {name}: Requested {more}, but already used {used} of {most} {name}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_passes_and_the_first_that_does_not_is_told() {
        let limits = Limits::new(
            Quota::default(),
            &[(Resource::Cores, 4), (Resource::Ram, -1)],
        );
        let used = Usage {
            cores: 3,
            ram: 1 << 40,
            ..Usage::default()
        };
        let more = |cores| Usage {
            cores,
            ram: 1,
            ..Usage::default()
        };
        assert!(limits.check(used, more(1)).is_ok());
        let refused = limits.check(used, more(2)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Quota exceeded for cores: Requested 2, but already used 3 of 4 cores"
        );
    }

    #[test]
    fn who_asks_for_nothing_more_is_not_refused_for_what_it_has() {
        let limits = Limits::new(Quota::default(), &[(Resource::Instances, 0)]);
        let used = Usage {
            instances: 3,
            ..Usage::default()
        };
        assert!(limits.check(used, Usage::default()).is_ok());
    }
}
