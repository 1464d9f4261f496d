//! An explanation for people.

use std::fmt;

use super::{Explanation, Leg, Works};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.question, self.summary())?;
        leg(f, "request", &self.request)?;
        if let Some(reply) = &self.reply {
            leg(f, "reply", reply)?;
        }
        for finding in &self.findings {
            writeln!(f, "\nwrong: {}\nremedy: {}", finding.what, finding.remedy)?;
        }
        if !self.doubts.is_empty() {
            writeln!(f, "\nnot certain:")?;
            self.doubts.iter().try_for_each(|doubt| writeln!(f, "  {doubt}"))?;
        }
        Ok(())
    }
}

impl Explanation {
    fn summary(&self) -> &'static str {
        match (self.works, self.symmetric) {
            (Works::No, _) => "does not work",
            (Works::Yes, Some(false)) => "works, but the reply takes other links",
            (Works::Yes, _) => "works, and the reply takes the same links",
            (Works::AsFarAsSeen, Some(false)) => {
                "works as far as can be seen, but the reply takes other links"
            }
            (Works::AsFarAsSeen, _) => "works as far as can be seen, and the reply takes the same links",
        }
    }
}

fn leg(f: &mut fmt::Formatter<'_>, name: &str, leg: &Leg) -> fmt::Result {
    writeln!(f, "\n{name}")?;
    let mut site = "";
    for step in &leg.steps {
        if step.site != site {
            site = &step.site;
            writeln!(f, "  {site}")?;
        }
        for line in step.what.to_string().lines() {
            writeln!(f, "    {line}")?;
        }
    }
    Ok(())
}
