//! The redirect, kept in line with who is served, and what is wrong with it.

use super::Daemon;
use crate::rules::{RulesError, Trouble};
use crate::serving::chain;

impl Daemon {
    /// Brings the redirect in line with what changed.
    pub(super) fn redirect(&mut self) {
        let changes = self.serving.take_redirects();
        if let Some(redirect) = &mut self.redirect
            && !changes.is_empty()
        {
            match redirect.apply(changes) {
                Ok(troubles) => self.report_more(troubles),
                Err(error) => self.report_redirect(&error),
            }
        }
    }

    /// Sees to it that the rules are as we left them.
    pub(super) fn check_redirect(&mut self) {
        let Some(redirect) = &mut self.redirect else {
            return;
        };
        match redirect.check() {
            Ok((mended, troubles)) => {
                if mended {
                    tracing::warn!("somebody had changed our rules: they are put right");
                }
                self.report(troubles);
            }
            Err(error) => self.report_redirect(&error),
        }
    }

    /// All that is wrong with the redirect; what is new is logged.
    pub(super) fn report(&mut self, troubles: Vec<Trouble>) {
        let old = std::mem::take(&mut self.troubles);
        for Trouble { bridge, error } in troubles {
            let (bridge, text) = (bridge.to_string(), chain(&error));
            if old.get(&bridge) != Some(&text) {
                tracing::error!(bridge, "the TAPs of the bridge are served in part: {text}");
            }
            self.troubles.insert(bridge, text);
        }
    }

    fn report_more(&mut self, troubles: Vec<Trouble>) {
        for Trouble { bridge, error } in troubles {
            let (bridge, text) = (bridge.to_string(), chain(&error));
            tracing::error!(bridge, "the TAPs of the bridge are served in part: {text}");
            self.troubles.insert(bridge, text);
        }
    }

    pub(super) fn report_redirect(&mut self, error: &RulesError) {
        let text = chain(error);
        if self.troubles.get("") != Some(&text) {
            tracing::error!("the redirect: {text}");
        }
        self.troubles.insert(String::new(), text);
    }
}
