//! Walking along a line whose density is not known, in steps that hold about the same.

/// A step along the line, from `from` to just before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) from: i128,
    pub(super) to: i128,
}

impl Step {
    /// Whether it can be made no smaller.
    pub(super) fn is_least(self) -> bool {
        self.to - self.from <= 1
    }
}

/// The walk. Steps grow where the line is empty and shrink where it is full.
#[derive(Debug)]
pub(super) struct Walk {
    at: i128,
    end: i128,
    width: i128,
    target: usize,
    /// From here on it is not known that the line is full.
    full_to: i128,
}

impl Walk {
    /// From `start` to just before `end`; a step should hold no more than about `target` items.
    pub(super) fn new(start: i128, end: i128, width: i128, target: usize) -> Self {
        Self { at: start, end, width: width.max(1), target: target.max(1), full_to: start }
    }

    /// The next step, which is behind us with that; none at the end.
    pub(super) fn step(&mut self) -> Option<Step> {
        let to = self.at.saturating_add(self.width).min(self.end);
        let step = Step { from: self.at, to };
        self.at = to;
        (step.from < to).then_some(step)
    }

    /// The step held more than can be taken at once: a smaller one is next, from the same place. Steps after it are
    /// to be forgotten.
    pub(super) fn too_much(&mut self, step: Step) {
        self.at = step.from;
        self.width = ((step.to - step.from) / 2).max(1);
        self.full_to = step.to;
    }

    /// The step held `items`.
    pub(super) fn took(&mut self, step: Step, items: usize) {
        let width = step.to - step.from;
        self.width = if items == 0 && self.at < self.full_to {
            // What fills it lies ahead: go half the way there, not all of it.
            (self.full_to - self.at) / 2
        } else {
            // As wide as holds five eighths of the target, so that a little more is not too much; in sixteenths.
            let ratio = (self.target * 10).checked_div(items).unwrap_or(usize::MAX).clamp(4, 64);
            width.saturating_mul(ratio as i128) / 16
        };
        self.width = self.width.max(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Takes `items`, `ahead` steps at a time; how many steps that took, and how many of them were in vain.
    fn take(items: &[i128], mut walk: Walk, ahead: usize) -> (usize, usize) {
        let (mut taken, mut steps, mut in_vain, mut held) = (0, 0, 0, VecDeque::new());
        loop {
            while held.len() < ahead
                && let Some(step) = walk.step()
            {
                steps += 1;
                let inside = |item: &&i128| (step.from..step.to).contains(*item);
                held.push_back((step, items.iter().filter(inside).count()));
            }
            let Some((step, count)) = held.pop_front() else { break };
            if count > 100 && !step.is_least() {
                in_vain += 1 + held.len();
                held.clear();
                walk.too_much(step);
            } else {
                walk.took(step, count);
                taken += count;
            }
        }
        assert_eq!(taken, items.len());
        (steps, in_vain)
    }

    #[test]
    fn every_item_is_taken_once_in_steps_that_are_not_too_large() {
        // A thousand at the start, a gap, three close together, and ten thousand in one place.
        let mut items: Vec<i128> = (0..1000).collect();
        items.extend([1_000_000_000, 1_000_000_001, 1_000_000_002]);
        items.extend(std::iter::repeat_n(2_000_000_000, 10_000));
        for ahead in [1, 2] {
            let walk = Walk::new(-5_000_000_000, 3_000_000_000, 1 << 40, 100);
            let (steps, _) = take(&items, walk, ahead);
            assert!(steps < 400 * ahead, "{steps} steps");
        }
    }

    #[test]
    fn where_it_is_unevenly_full_hardly_a_step_is_taken_in_vain() {
        // From six to nine items at ten places, another number after each hundred and fifty.
        let density = |place: i128| [6, 9, 7, 8][(place / 150 % 4) as usize];
        let at = |place: i128| {
            let count = density(place) * (place % 10 + 1) / 10 - density(place) * (place % 10) / 10;
            std::iter::repeat_n(place, count as usize)
        };
        let items: Vec<i128> = (0..50_000).flat_map(at).collect();
        for ahead in [1, 2] {
            let (steps, in_vain) = take(&items, Walk::new(0, 50_000, 8, 100), ahead);
            assert!(in_vain * 50 < steps, "{in_vain} of {steps} steps in vain");
            assert!(steps * 100 < items.len() * 2, "{steps} steps for {} items", items.len());
        }
    }
}
