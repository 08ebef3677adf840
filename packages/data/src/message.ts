/** One turn of a conversation. A type, not an interface, so that it is JSON to the compiler too. */
export type Message = {
  role: "system" | "user" | "assistant";
  content: string;
  /** Images that the user shows before the text, as `image.ts` makes them; absent where there are none. */
  images?: string[];
};

/** Roles and texts of a conversation, without what its users show. */
export function withoutImages<Role extends string>(
  messages: readonly { readonly role: Role; readonly content: string }[],
): { role: Role; content: string }[] {
  return messages.map(({ role, content }) => ({ role, content }));
}
