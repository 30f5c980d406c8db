//! Upcasters compiled: into the loop over the events, before the handlers; or, where the handlers are in Rust,
//! into a function that turns an event's data and metadata into what they are read as.

use super::{Body, Compiled, Source, literal};
use crate::projection::{Definition, Expression, Upcaster};

/// What the function takes: type, version, data and metadata.
const ARGUMENTS: &str = "text, bigint, jsonb, jsonb";

/// A query for the value of an upcaster's expression, with `from` as the event that the log has. Where it gives
/// nothing, neither does the query.
pub(crate) fn upcast(expression: &Expression, from: &str) -> String {
    format!("select cast((\n{}\n) as jsonb) from (select {from}) projectord_log", expression.sql)
}

/// The function for handlers in Rust, which are given events by a query; nothing where no old event is read
/// otherwise than it is. Its arguments have no names, which an expression could mean.
pub(super) fn compile_for_code(projection: &Definition) -> Compiled {
    if projection.upcasters.is_empty() {
        return Compiled::default();
    }
    let mut body = Body::default();
    body.line("declare");
    body.line("    event record;");
    body.line("    projectord_old record;");
    body.line("begin");
    body.line("    select $1 as type, $2 as version, $3 as data, $4 as metadata into event;");
    body.upcasters(&projection.upcasters);
    body.line("    return array[event.data, event.metadata];");
    body.line("end");
    let tag = body.unused_tag();
    let sql = format!(
        "create function projectord_upcast({ARGUMENTS}) returns jsonb[] language plpgsql security definer as {tag}\n{}{tag}",
        body.text
    );
    Compiled { sql, sources: body.sources }
}

impl Compiled {
    /// For a query that gives events to handlers in Rust: the fields `data` and `metadata` of its table `e`, as
    /// they are read today, and what stands after that table. `schema` is the read model's, in quotes.
    pub(crate) fn read_by_code(&self, schema: &str) -> (&'static str, String) {
        if self.sql.is_empty() {
            return ("e.data, e.metadata", String::new());
        }
        let call =
            format!(", {schema}.projectord_upcast(e.type, e.version, e.data, e.metadata) read_as (it)");
        ("read_as.it[1] as data, read_as.it[2] as metadata", call)
    }
}

impl Body {
    /// Makes the variable `event` what it is read as.
    pub(super) fn upcasters(&mut self, upcasters: &[Upcaster]) {
        for upcaster in upcasters {
            self.line(&format!("        if event.type = {} then", literal(&upcaster.event_type)));
            self.line("            projectord_old := event;");
            for (field, expression) in [("data", &upcaster.data), ("metadata", &upcaster.metadata)] {
                if let Some(expression) = expression {
                    self.upcast(field, expression);
                }
            }
            self.line("        end if;");
        }
    }

    /// The new value of a field of the event. PL/pgSQL names the line that a statement begins on.
    fn upcast(&mut self, field: &str, expression: &Expression) {
        let from = "projectord_old.data as data, projectord_old.metadata as metadata, \
                    projectord_old.type as type, projectord_old.version as version";
        let query = upcast(expression, from);
        let file = &expression.file;
        let source = |first_line| Source { file: file.clone(), first_line, lines: 1, line: expression.line };
        self.sources.push(source(self.lines + 1));
        self.line(&format!("            event.{field} := ({query});"));
        self.sources.push(source(self.lines + 1));
        let message = literal(&format!("the upcaster {file} gives null"));
        self.line(&format!(
            "            if event.{field} is null then raise exception using errcode = '22004', message = {message}; end if;"
        ));
    }
}
