/**
 * What a dashboard of pmigd is, put together from Grafana's own types.
 *
 * @grafana/schema leaves `options`, `custom` and `targets` open, because they are the panel's and
 * the data source's business. Here each kind of panel has its own, so that a misspelt key anywhere
 * is an error.
 */
import type * as schema from '@grafana/schema';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as states from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
// Grafana's later packages have no types of Prometheus' queries that come without its whole UI.
import type { PrometheusDataQuery } from 'grafana-schema-10/dist/esm/raw/composable/prometheus/dataquery/x/PrometheusDataQuery_types.gen';

/** The same as it is written in JSON: enums by their values. */
type Written<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}`
      ? N
      : never
    : T extends object
      ? { [K in keyof T]: Written<T[K]> }
      : T;

interface Source {
  type: 'prometheus';
  uid: string;
}

interface Target extends Omit<PrometheusDataQuery, 'datasource' | 'hide' | 'scope'> {
  datasource: Source;
}

interface Panel<Kind extends string, Options, Custom>
  extends Omit<schema.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: Kind;
  options: Options;
  fieldConfig: Omit<schema.FieldConfigSource, 'defaults'> & {
    defaults: Omit<schema.FieldConfig, 'custom'> & { custom?: Custom };
  };
  targets: Target[];
}

/** What Grafana's Prometheus data source reads of an annotation besides. */
interface Annotation extends Omit<schema.AnnotationQuery, 'target'> {
  target: Omit<Target, 'datasource'>;
  expr: string;
  titleFormat: string;
  useValueForTime: boolean;
}

interface Variable extends Omit<schema.VariableModel, 'query'> {
  query: string | { query: string; refId: string };
}

export type Dashboard = Written<
  Omit<schema.Dashboard, 'panels' | 'annotations' | 'templating'> & {
    panels: Array<
      | (Omit<schema.RowPanel, 'panels'> & { panels: [] })
      | Panel<'stat', stat.Options, never>
      | Panel<'timeseries', timeseries.Options, timeseries.FieldConfig>
      | Panel<'heatmap', heatmap.Options, heatmap.FieldConfig>
      | Panel<'state-timeline', states.Options, states.FieldConfig>
      | Panel<'table', table.Options, table.FieldConfig>
    >;
    annotations: { list: Annotation[] };
    templating: { list: Variable[] };
  }
>;
