using Kms.Hsm.Native;

namespace Kms.Hsm.Tests;

/// <summary>Sessions of a test's own beside those of the token.</summary>
internal static class TokenSessions
{
    /// <summary>A session that may change the token, beside those of the token itself.</summary>
    public static T Change<T>(Token token, Func<Module, ulong, T> change)
    {
        Module module = token.Module;
        ulong session = module.OpenSession(SlotOf(token), readWrite: true);
        try
        {
            return change(module, session);
        }
        finally
        {
            module.CloseSession(session);
        }
    }

    /// <summary>Of every kind, of the token and of all sessions.</summary>
    public static int CountObjects(Token token) => token.Operate(session =>
    {
        using Template everything = new();
        return token.Module.Find(session, everything).Count;
    });

    public static ulong SlotOf(Token token) => token.Module.SlotsWithToken().Single(
        slot => token.Module.Describe(slot)?.Serial == token.Description.Serial);
}
