import { Link, useRoute } from "../route.tsx";

export function NotFound() {
  const { path } = useRoute();
  return (
    <section>
      <h1>No such page</h1>
      <p>
        There is nothing at <code>/{path.join("/")}</code>. <Link to="/runs">The runs of this store</Link>
      </p>
    </section>
  );
}
